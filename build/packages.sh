#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
#
# What krait's build and tests need of the system, as one table, and two questions about it:
#
#   build/packages.sh missing          one line about what the build lacks; nothing if all is there
#   build/packages.sh install build    install that with the system's package manager
#   build/packages.sh install example  what the example of `make profile` takes
#   build/packages.sh install test     all that the build and the tests lack
#   build/packages.sh install kernels  what `make test-kernels` takes
#   build/packages.sh install fuzz     what `make fuzz` takes
#
# Whether something is there is asked of the thing itself (a command, a header, a Python module), not
# of the package manager: a tool that was built from source counts, and when nothing is missing
# neither the network nor the package manager is touched. Only apt is tried regularly; the other
# columns are the names in those distributions.

set -u

CC=${CC:-gcc}
CLANG=${CLANG:-clang}
BPFTOOL=${BPFTOOL:-bpftool}
PATH=$PATH:/usr/sbin:/sbin

# For what (wish: the build does without, and is better with; more: so do the tests, and not every
# release of a distribution has it; example: make profile, where no Python is busy; kernels: make
# test-kernels; fuzz: make fuzz), what is looked
# for, and the package that has it: apt, dnf, pacman, apk ("-": none).
table() {
	cat <<'EOF'
build  cc                                  gcc                   gcc                    gcc         gcc
build  header:stdio.h                      libc6-dev             glibc-devel            glibc       musl-dev
build  clang                               clang                 clang                  clang       clang
wish   command:llvm-strip                  llvm                  llvm                   llvm        llvm
build  bpftool                             bpftool               bpftool                bpf         bpftool
wish   command:pkg-config                  pkg-config            pkgconf-pkg-config     pkgconf     pkgconf
build  header:bpf/libbpf.h                 libbpf-dev            libbpf-devel           libbpf      libbpf-dev
build  header:libelf.h                     libelf-dev            elfutils-libelf-devel  libelf      elfutils-dev
build  header:zlib.h                       zlib1g-dev            zlib-devel             zlib        zlib-dev
build  header:protobuf-c/protobuf-c.h      libprotobuf-c-dev     protobuf-c-devel       protobuf-c  protobuf-c-dev
build  command:protoc-c                    protobuf-c-compiler   protobuf-c-compiler    protobuf-c  protobuf-c-compiler
build  header:jansson.h                    libjansson-dev        jansson-devel          jansson     jansson-dev
build  header:cap-ng.h                     libcap-ng-dev         libcap-ng-devel        libcap-ng   libcap-ng-dev
build  header:seccomp.h                    libseccomp-dev        libseccomp-devel       libseccomp  libseccomp-dev
example python3                            python3               python3                python      python3
test   header:cmocka.h                     libcmocka-dev         libcmocka-devel        cmocka      cmocka-dev
test   pytest                              python3-pytest        python3-pytest         python-pytest  py3-pytest
test   pymodule:greenlet                   python3-greenlet      python3-greenlet       python-greenlet  py3-greenlet
test   pyheaders                           python3-dev           python3-devel          python      python3-dev
test   ffi                                 libffi-dev            libffi-devel           libffi      libffi-dev
test   command:clang-format                clang-format          clang-tools-extra      clang       clang-extra-tools
test   command:clang-tidy                  clang-tidy            clang-tools-extra      clang       clang-extra-tools
test   command:cppcheck                    cppcheck              cppcheck               cppcheck    cppcheck
test   command:go                          golang-go             golang                 go          go
test   command:debootstrap                 debootstrap           debootstrap            debootstrap debootstrap
test   file:/usr/share/keyrings/debian-archive-keyring.gpg  debian-archive-keyring  -  debian-archive-keyring  -
more   command:python3-dbg                 python3-dbg           -                      -           -
more   command:musl-gcc                    musl-tools            -                      -           -
more   command:setcap                      libcap2-bin           libcap                 libcap      libcap-utils
more   command:sudo                        sudo                  sudo                   sudo        sudo
more   command:uwsgi                       uwsgi-core            -                      -           -
more   file:/usr/lib/uwsgi/plugins/python3_plugin.so  uwsgi-plugin-python3  -  -  -
kernels command:qemu-system-x86_64         qemu-system-x86       qemu-system-x86        qemu-system-x86  qemu-system-x86_64
fuzz   fuzzer                              libclang-rt-dev       compiler-rt            compiler-rt compiler-rt
fuzz   header:cmocka.h                     libcmocka-dev         libcmocka-devel        cmocka      cmocka-dev
EOF
}

# The compiler knows its search path best.
has_headers() {
	for header in "$@"; do
		echo "#include <$header>"
	done | "$CC" -D_GNU_SOURCE -E -x c - >/dev/null 2>&1
}

ask_pyheaders="import sysconfig; print(sysconfig.get_path('include'))"

has() {
	case $1 in
	cc) command -v "$CC" >/dev/null ;;
	clang) command -v "$CLANG" >/dev/null ;;
	# Ubuntu's bpftool is a wrapper that fails when it has none for the running kernel.
	bpftool) "$BPFTOOL" version >/dev/null 2>&1 ;;
	python3) [ -x /usr/bin/python3 ] || command -v python3 >/dev/null ;;
	pytest) /usr/bin/python3 -c 'import pytest' >/dev/null 2>&1 ;;
	pyheaders) [ -e "$(/usr/bin/python3 -c "$ask_pyheaders" 2>/dev/null)/Python.h" ] ;;
	pymodule:*) /usr/bin/python3 -c "import ${1#pymodule:}" >/dev/null 2>&1 ;;
	fuzzer) echo 'int LLVMFuzzerTestOneInput(void) { return 0; }' |
		"$CLANG" -fsanitize=fuzzer,address,undefined -x c -o /dev/null - 2>/dev/null ;;
	ffi) has_headers ffi.h ;; # for the ctypes of the CPython that tests/nogil.py builds
	command:*) command -v "${1#command:}" >/dev/null ;;
	# It includes nothing itself and needs these first.
	header:cmocka.h) has_headers stdarg.h stddef.h setjmp.h stdint.h cmocka.h ;;
	file:*) [ -e "${1#file:}" ] ;;
	header:*) [ -n "$all_headers" ] || has_headers "${1#header:}" ;;
	esac
}

manager() {
	for tool in apt-get dnf pacman apk; do
		if command -v $tool >/dev/null; then
			echo $tool
			return
		fi
	done
}

# Names of what is missing for $1, in the words of manager $2. $1: what the build can't do without
# (need), what it wants (build), what the tests want (test), and what they would like (more).
missing() {
	case $2 in
	dnf) column=4 ;;
	pacman) column=5 ;;
	apk) column=6 ;;
	*) column=3 ;;
	esac
	# One run of the preprocessor when, as is usual, all of the build's headers are there.
	all_headers=
	if has_headers $(table | sed -n 's/^build *header:\([^ ]*\).*/\1/p'); then
		all_headers=yes
	fi
	table | while read -r for what names; do
		case "$1 $for" in
		test\ more | test\ kernels | test\ fuzz) continue ;;
		"need build" | "build build" | "build wish" | "more more" | "kernels kernels" | test\ *) ;;
		"example example") ;;
		"fuzz fuzz" | "fuzz build" | "fuzz wish") ;;
		*) continue ;;
		esac
		has "$what" || echo "$for $what $names" | awk -v c=$column '{ print $c }'
	done | sort -u | grep -vx -- - | tr '\n' ' ' | sed 's/ $//'
}

# Ubuntu before 24.10 has no package bpftool: it comes with the kernel's tools.
ubuntu_names() {
	case " $1 " in
	*" bpftool "*)
		if apt-cache policy bpftool 2>/dev/null | grep -q 'Candidate: [0-9]'; then
			echo "$1"
		else
			echo "$1" | sed 's/bpftool/linux-tools-common linux-tools-generic/'
		fi
		;;
	*) echo "$1" ;;
	esac
}

# True if version $1 is at least $2 (both MAJOR.MINOR...).
at_least() {
	[ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]
}

# What is there, but too old.
too_old() {
	libbpf=$(pkg-config --modversion libbpf 2>/dev/null)
	if [ -n "$libbpf" ] && ! at_least "$libbpf" 1.1; then
		echo "libbpf $libbpf is too old, krait needs 1.1 or newer"
		return
	fi
	clang=$("$CLANG" -dumpversion 2>/dev/null)
	if [ -n "$clang" ] && ! at_least "$clang" 14; then
		echo "clang $clang is too old, krait needs 14 or newer (CLANG=clang-14 picks another)"
	fi
}

install_command() {
	case $1 in
	apt-get) echo "apt-get install -y --no-install-recommends $2" ;;
	dnf) echo "dnf install -y $2" ;;
	pacman) echo "pacman -S --needed --noconfirm $2" ;;
	apk) echo "apk add $2" ;;
	esac
}

install_missing() {
	tool=$(manager)
	names=$(missing "$1" "$tool")
	if [ -z "$names" ]; then
		return 0
	fi
	if [ -z "$tool" ]; then
		echo "krait: no apt-get, dnf, pacman or apk here; please install (Debian's names): $names" >&2
		return 1
	fi
	if [ "$(id -u)" != 0 ]; then
		echo "krait: missing packages; as root, run: $(install_command "$tool" "$names")" >&2
		return 1
	fi
	echo "krait: installing $names"
	if [ "$tool" = apt-get ]; then
		export DEBIAN_FRONTEND=noninteractive
		apt-get -q update || return 1
		names=$(ubuntu_names "$names")
	fi
	$(install_command "$tool" "$names") || return 1
	names=$(missing "$1" "$tool")
	if [ -n "$names" ]; then
		echo "krait: still missing after the installation: $names" >&2
		return 1
	fi
}

# One by one, since a package that does not exist fails the whole command. What can't be had is a
# skip of the tests.
install_more() {
	tool=$(manager)
	names=$(missing more "$tool")
	if [ -z "$names" ] || [ -z "$tool" ] || [ "$(id -u)" != 0 ]; then
		return 0
	fi
	export DEBIAN_FRONTEND=noninteractive
	if [ "$tool" = apt-get ] && ! apt-get -q update; then
		return 0
	fi
	for name in $names; do
		echo "krait: installing $name"
		$(install_command "$tool" "$name") || echo "krait: the tests go on without $name"
	done
}

case "${1:-} ${2:-}" in
"missing ")
	names=$(missing need "$(manager)")
	if [ -n "$names" ]; then
		echo "missing packages: $names (make deps, as root, installs them)"
	else
		too_old
	fi
	;;
"install build" | "install example" | "install kernels" | "install fuzz")
	install_missing "$2"
	;;
"install test")
	install_missing test && install_more
	;;
*)
	echo "usage: build/packages.sh missing | install build|example|test|kernels|fuzz" >&2
	exit 2
	;;
esac
