#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
#
# The last step of `make profile`: ten seconds of every Python process of this host. On a host where
# none is busy it runs an example beside, so that there is something to see. Runs in the project's
# folder; the profile is written there.
set -u

SECONDS_LONG=10
BUSY_TICKS=5 # of USER_HZ, which is 100 a second: a tenth of one CPU
EXAMPLE=examples/busy.py

if [ "$(id -u)" != 0 ]; then
	echo "krait: profiling a whole host needs root: sudo make profile" >&2
	exit 4
fi

# CPU time of process $1 in ticks: utime and stime, proc(5); nothing if it is gone. The name in
# parentheses may hold anything, so fields are counted from behind it.
cpu_ticks() {
	sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | awk '{ print $12 + $13 }'
}

# "PID TICKS" of every Python process.
snapshot() {
	for pid in $1; do
		echo "$pid $(cpu_ticks "$pid")"
	done
}

has_busy_python() {
	pids=$(./krait ps 2>/dev/null | awk '$1 ~ /^[0-9]+$/ { print $1 }')
	before=$(snapshot "$pids")
	sleep 0.5
	after=$(snapshot "$pids")
	printf '%s\n%s\n' "$before" "$after" | awk -v least=$BUSY_TICKS '
		NF == 2 && ($1 in seen) && $2 - seen[$1] >= least { busy = 1 }
		NF == 2 { seen[$1] = $2 }
		END { exit !busy }'
}

example_pid=
end_example() {
	if [ -n "$example_pid" ]; then
		kill "$example_pid" 2>/dev/null
		wait "$example_pid" 2>/dev/null
		example_pid=
	fi
}
trap end_example EXIT
# krait ends at Ctrl-C by itself and writes what it has; this only must not end before it.
trap : INT TERM

# A host without any Python gets one here, since there would be nothing to see.
start_example() {
	build/packages.sh install example || exit 1
	# The system's own first: a version manager's python3 is a script that takes its time to start one.
	python=/usr/bin/python3
	[ -x $python ] || python=$(command -v python3)
	"$python" $EXAMPLE &
	example_pid=$!
	echo "krait: no busy Python process here; running $EXAMPLE as an example (pid $example_pid)"
}

has_busy_python || start_example

./krait record -a -F 99 -d $SECONDS_LONG
