# SPDX-License-Identifier: BSD-2-Clause
#
# krait's build. `make help` lists the targets. An ordinary user can build: neither root nor the
# running kernel's BTF is needed. Products go to .output/, the program to ./krait.

VERSION := 0.1.0

# `make help` should be the only thing a person needs, so plain `make` builds.
.DEFAULT_GOAL := all
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules
.SUFFIXES:

# ---- What may be set on the command line ----

ifeq ($(origin CC),default)
CC := gcc
endif
CLANG ?= clang
CFLAGS ?= -O2 -g
LDFLAGS ?=
PREFIX ?= /usr/local
DESTDIR ?=
# A sanitizer list such as SAN=address,undefined; the build gets a folder of its own.
SAN ?=
comma := ,
OUT ?= .output$(if $(SAN),-san-$(subst $(comma),-,$(SAN)))
# Debian keeps bpftool where an ordinary user's PATH does not look; Ubuntu has one per kernel.
BPFTOOL ?= $(or $(shell command -v bpftool 2>/dev/null),$(firstword $(wildcard /usr/sbin/bpftool \
	/usr/local/sbin/bpftool)),bpftool)
# The system's Python, whatever a version manager has put first in PATH: it has pytest.
PYTHON ?= /usr/bin/python3

# The program lands at the top for the plain build only, so that other builds leave it alone.
KRAIT := $(if $(filter .output,$(OUT)),krait,$(OUT)/krait)

ARCH := $(patsubst aarch64,arm64,$(patsubst x86_64,x86,$(shell uname -m)))

ifeq ($(V),1)
Q :=
say :=
else
Q := @
say = @printf '  %-7s %s\n' $(1) $(2);
endif

# ---- Flags ----

PKGS := libbpf libelf zlib libprotobuf-c jansson libcap-ng libseccomp
PKG_LIBS := $(or $(shell pkg-config --libs $(PKGS) 2>/dev/null),-lbpf -lelf -lz -lprotobuf-c -ljansson \
	-lcap-ng -lseccomp)
PKG_CFLAGS := $(shell pkg-config --cflags $(PKGS) 2>/dev/null)

WARN := -Wall -Wextra -Werror -Wmissing-prototypes -Wshadow
SAN_FLAGS := $(if $(SAN),-fsanitize=$(SAN) -fno-sanitize-recover=all -fno-omit-frame-pointer)
CPP_FLAGS := -I. -I$(OUT) -D_GNU_SOURCE -DKRAIT_VERSION='"$(VERSION)"' $(PKG_CFLAGS) -MMD -MP
USER_FLAGS = -std=gnu11 $(CFLAGS) $(WARN) $(SAN_FLAGS) $(CPP_FLAGS)
# What protoc-c writes is not ours to warn about.
GEN_FLAGS = -std=gnu11 $(CFLAGS) $(SAN_FLAGS) $(CPP_FLAGS)
# v3 has 32-bit jumps and ALU: since Linux 5.1, and far fewer instructions.
BPF_FLAGS := -target bpf -mcpu=v3 -O2 -g -std=gnu11 -Wall -Wextra -Werror -Wno-unused-parameter \
	-D__TARGET_ARCH_$(ARCH) -I. $(PKG_CFLAGS) -MMD -MP

# Of all BPF programs together; lint fails beyond. Raise it knowingly: `make bench` says what it costs.
BPF_BUDGET := 5430

# ---- Sources; a part of the tree that does not exist is no error ----

BPF_SRC := $(wildcard bpf/krait.bpf.c)
PROTO_SRC := $(wildcard user/export/profile.proto)
USER_SRC := $(sort $(wildcard user/*.c user/*/*.c user/*/*/*.c))
LIB_SRC := $(filter-out user/main.c,$(USER_SRC))

SKEL := $(if $(BPF_SRC),$(OUT)/krait.skel.h)
PB_C := $(PROTO_SRC:%.proto=$(OUT)/%.pb-c.c)
PB_H := $(PB_C:.c=.h)
GENERATED := $(SKEL) $(PB_H)

LIB := $(OUT)/libkrait.a
LIB_OBJ := $(LIB_SRC:%.c=$(OUT)/%.o) $(PB_C:.c=.o)
MAIN_OBJ := $(patsubst %.c,$(OUT)/%.o,$(wildcard user/main.c))

UNIT_TESTS := $(patsubst %.c,$(OUT)/%,$(sort $(wildcard tests/unit/test_*.c)))
HOST_TESTS := $(patsubst %.c,$(OUT)/%,$(sort $(wildcard tests/host/test_*.c)))
ORACLE := $(patsubst %.c,$(OUT)/%,$(wildcard tests/oracle/oracle.c))
FUZZERS := $(patsubst tests/%.c,$(OUT)/%,$(sort $(wildcard tests/fuzz/fuzz_*.c)))

# ---- Tools that are missing: one line, before anything is tried ----

NO_BUILD := clean help lint deps deps-test test test-fresh test-tools profile uninstall
ifneq ($(filter-out $(NO_BUILD),$(or $(MAKECMDGOALS),all)),)
MISSING := $(shell CC='$(firstword $(CC))' CLANG='$(CLANG)' BPFTOOL='$(BPFTOOL)' \
	build/packages.sh missing)
ifneq ($(MISSING),)
$(error $(MISSING))
endif
endif

# ---- Build ----

.PHONY: all clean install uninstall help lint deps deps-test profile bench pictures
.PHONY: test test-unit test-host test-oracle test-golden test-layouts test-e2e tests-build
.PHONY: test-tools test-fresh test-accuracy test-accuracy-short test-kernels test-trust layouts
.PHONY: fuzz fuzz-breaks

all: $(if $(MAIN_OBJ),$(KRAIT)) $(LIB)

$(KRAIT): $(MAIN_OBJ) $(LIB)
	$(call say,LINK,$@)
	$(Q)$(CC) $(CFLAGS) $(SAN_FLAGS) $(LDFLAGS) -o $@ $^ $(PKG_LIBS)

$(LIB): $(LIB_OBJ)
	$(call say,AR,$@)
	$(Q)mkdir -p $(@D) && rm -f $@ && ar rcs $@ $^

$(OUT)/user/%.o: user/%.c | $(GENERATED)
	$(call say,CC,$@)
	$(Q)mkdir -p $(@D) && $(CC) $(USER_FLAGS) -c -o $@ $<

$(OUT)/%.pb-c.o: $(OUT)/%.pb-c.c
	$(call say,CC,$@)
	$(Q)$(CC) $(GEN_FLAGS) -c -o $@ $<

# One run makes both files; the grouped-target syntax would need make 4.3.
$(OUT)/%.pb-c.h: $(OUT)/%.pb-c.c ;
$(OUT)/%.pb-c.c: %.proto
	$(call say,PROTOC,$@)
	$(Q)mkdir -p $(OUT) && protoc-c --c_out=$(OUT) $<

# llvm-strip -g drops DWARF and keeps BTF; without it the object is only larger.
$(OUT)/bpf/%.bpf.tmp.o: bpf/%.bpf.c
	$(call say,BPF,$@)
	$(Q)mkdir -p $(@D) && $(CLANG) $(BPF_FLAGS) -c -o $@ $<
	$(Q)if command -v llvm-strip >/dev/null; then llvm-strip -g $@; fi

$(OUT)/%.bpf.o: $(OUT)/bpf/%.bpf.tmp.o
	$(call say,GEN,$@)
	$(Q)$(BPFTOOL) gen object $@ $<
	$(call say,INSNS,"$$(build/bpf-size.sh $@) BPF instructions of $(BPF_BUDGET)")

$(OUT)/%.skel.h: $(OUT)/%.bpf.o
	$(call say,SKEL,$@)
	$(Q)$(BPFTOOL) gen skeleton $< name $*_bpf > $@

# ---- Unit and host tests: one cmocka program per file ----

# Host tests include the walker's sources; bpf/platform.h then asks the host instead of the kernel.
HOST_FLAGS := -DKRAIT_HOST=

$(OUT)/tests/host/%.o: TEST_FLAGS = $(HOST_FLAGS)
$(OUT)/tests/%.o: tests/%.c | $(GENERATED)
	$(call say,CC,$@)
	$(Q)mkdir -p $(@D) && $(CC) $(TEST_FLAGS) $(USER_FLAGS) -c -o $@ $<

$(UNIT_TESTS) $(HOST_TESTS): %: %.o $(LIB)
	$(call say,LINK,$@)
	$(Q)$(CC) $(CFLAGS) $(SAN_FLAGS) $(LDFLAGS) -o $@ $^ -lcmocka $(PKG_LIBS)

tests-build: $(UNIT_TESTS) $(HOST_TESTS) $(ORACLE)

# Asks every CPython of this host for the lines of its own standard library.
$(ORACLE): %: %.o $(LIB)
	$(call say,LINK,$@)
	$(Q)$(CC) $(CFLAGS) $(SAN_FLAGS) $(LDFLAGS) -o $@ $^ $(PKG_LIBS)

# ---- For tests/e2e/test_nested.py: krait with one more program beside the tick ----

NESTED_ticks := -DNESTED_EVENT=0
NESTED_single := -DNESTED_EVENT=0 -DNESTED_LEVELS=1
NESTED_unmarked := -DNESTED_EVENT=0 -DUNMARKED
NESTED_events := -DNESTED_EVENT=1

$(OUT)/nested/%/krait.bpf.o: tests/nested/nested.bpf.c $(wildcard bpf/*.[ch] bpf/abi/*.h)
	$(call say,BPF,$@)
	$(Q)mkdir -p $(@D) && $(CLANG) $(BPF_FLAGS) $(NESTED_$*) -c -o $(@D)/tmp.o $<
	$(Q)$(BPFTOOL) gen object $@ $(@D)/tmp.o

$(OUT)/nested/%/krait.skel.h: $(OUT)/nested/%/krait.bpf.o
	$(Q)$(BPFTOOL) gen skeleton $< name krait_bpf > $@

# The files that know of the programs, with these in place of the product's.
$(OUT)/nested/%/sampler.o: user/session/sampler.c $(OUT)/nested/%/krait.skel.h
	$(call say,CC,$@)
	$(Q)$(CC) -I$(@D) $(USER_FLAGS) -c -o $@ $<

$(OUT)/nested/%/map_sizes.o: user/session/map_sizes.c $(OUT)/nested/%/krait.skel.h
	$(call say,CC,$@)
	$(Q)$(CC) -I$(@D) $(USER_FLAGS) -c -o $@ $<

$(OUT)/nested/%/krait: $(OUT)/nested/%/sampler.o $(OUT)/nested/%/map_sizes.o $(MAIN_OBJ) $(LIB)
	$(call say,LINK,$@)
	$(Q)$(CC) $(CFLAGS) $(SAN_FLAGS) $(LDFLAGS) -o $@ $^ $(PKG_LIBS)

# ---- Fuzz targets: all of the sources once more, by clang, for its libFuzzer ----

# Seconds for each target.
FUZZ_S ?= 30
FUZZ_SAN := address,undefined
FUZZ_FLAGS = -std=gnu11 -O1 -g $(WARN) $(CPP_FLAGS) -fsanitize=fuzzer-no-link,$(FUZZ_SAN) \
	-fno-sanitize-recover=all -fno-omit-frame-pointer
FUZZ_LIB := $(OUT)/fuzz/libkrait.a
FUZZ_LIB_OBJ := $(LIB_SRC:%.c=$(OUT)/fuzz/%.o) $(PROTO_SRC:%.proto=$(OUT)/fuzz/%.pb-c.o)
FUZZ_OBJ := $(FUZZERS:$(OUT)/fuzz/%=$(OUT)/fuzz/tests/fuzz/%.o)

$(OUT)/fuzz/tests/%.o: TEST_FLAGS = $(HOST_FLAGS)
$(OUT)/fuzz/%.o: %.c | $(GENERATED)
	$(call say,CC,$@)
	$(Q)mkdir -p $(@D) && $(CLANG) $(TEST_FLAGS) $(FUZZ_FLAGS) -c -o $@ $<

$(OUT)/fuzz/%.pb-c.o: $(OUT)/%.pb-c.c
	$(call say,CC,$@)
	$(Q)mkdir -p $(@D) && $(CLANG) $(FUZZ_FLAGS) -c -o $@ $<

$(FUZZ_LIB): $(FUZZ_LIB_OBJ)
	$(call say,AR,$@)
	$(Q)rm -f $@ && ar rcs $@ $^

$(FUZZERS): $(OUT)/fuzz/%: $(OUT)/fuzz/tests/fuzz/%.o $(FUZZ_LIB)
	$(call say,LINK,$@)
	$(Q)$(CLANG) -fsanitize=fuzzer,$(FUZZ_SAN) -o $@ $^ -lcmocka $(PKG_LIBS)

fuzz:
	@build/packages.sh install fuzz
	@$(MAKE) --no-print-directory $(FUZZERS)
	@PYTHONDONTWRITEBYTECODE=1 $(PYTHON) tests/fuzz/run.py $(FUZZ_S) $(OUT)/fuzz $(FUZZERS)

# Whether they find what they are for: each with a check left out of a copy of the tree. Slow.
FUZZ_BREAK_S ?= 120
FUZZ_BREAK_TARGETS ?=
fuzz-breaks:
	@build/packages.sh install fuzz
	@$(MAKE) --no-print-directory $(FUZZERS)
	@PYTHONDONTWRITEBYTECODE=1 $(PYTHON) tests/fuzz/breaks.py $(FUZZ_BREAK_S) $(OUT)/breaks $(OUT) \
		$(FUZZ_BREAK_TARGETS)

SUITE := $(PYTHON) tests/tools/suite.py

test-unit: $(UNIT_TESTS)
	@$(SUITE) cmocka unit $^

test-host: $(HOST_TESTS)
	@$(SUITE) cmocka host $^

test-oracle: $(ORACLE)
	@$(SUITE) oracle oracle $^

# The tests' own tools: how suites are added up, how chance is reckoned with.
test-tools:
	@$(SUITE) pytest tools tests/tools

layouts: test-layouts
test-layouts:
	@$(SUITE) script layouts $(wildcard tests/layouts/check.py)

test-golden: all
	@$(SUITE) pytest golden tests/golden

test-e2e: all
	@$(SUITE) pytest e2e tests/e2e

# What takes minutes of the promises in SECURITY.md.
test-trust: all
	@$(SUITE) pytest trust tests/trust

# A table of errors, a row per CPython: some minutes. The short form is the suite of `make test`.
test-accuracy: all $(ORACLE)
	@$(SUITE) table accuracy tests/accuracy/run.py $(ORACLE)

test-accuracy-short: all
	@$(SUITE) table accuracy tests/accuracy/run.py --short

# ---- For people ----

# Everything: installs what the tests lack, builds, and runs every suite, whatever becomes of each.
test:
	@build/packages.sh install test
	@$(MAKE) --no-print-directory all
	@$(PYTHON) tests/pythons.py --install
	@MAKE='$(MAKE)' $(SUITE) all

# Both of the README's commands in a bare Debian 12 that is made for it, with the CPythons that are
# built there; FRESH_PYTHONS=folder shares those of a cache instead.
test-fresh:
	@build/packages.sh install test
	@$(PYTHON) tests/fresh/run.py $(if $(FRESH_PYTHONS),--pythons $(FRESH_PYTHONS))

# On other kernels than this one: Debian's, in QEMU. Two minutes, and 95 MB of packages once.
test-kernels: all
	@build/packages.sh install kernels
	@$(SUITE) table kernels tests/kernels/run.py

bench: all
	$(Q)PYTHONDONTWRITEBYTECODE=1 $(PYTHON) tests/bench/run.py

# How the cost grows, drawn: docs/pictures. It takes minutes, root and gnuplot.
pictures: all
	$(Q)PYTHONDONTWRITEBYTECODE=1 $(PYTHON) tests/bench/curves.py

# The first thing a newcomer runs: from a checkout to a profile in one command.
profile:
	@build/packages.sh install build
	@$(MAKE) --no-print-directory all
	@build/profile.sh

lint:
	@PYTHONDONTWRITEBYTECODE=1 $(PYTHON) build/lint.py
	@if [ -e $(OUT)/krait.bpf.o ]; then \
		build/bpf-size.sh $(OUT)/krait.bpf.o $(BPF_BUDGET) >/dev/null; fi

deps:
	@build/packages.sh install build

deps-test:
	@build/packages.sh install test

install: all
	$(call say,INSTALL,$(DESTDIR)$(PREFIX)/bin/krait)
	$(Q)install -D -m 755 $(KRAIT) $(DESTDIR)$(PREFIX)/bin/krait

uninstall:
	$(call say,REMOVE,$(DESTDIR)$(PREFIX)/bin/krait)
	$(Q)rm -f $(DESTDIR)$(PREFIX)/bin/krait

clean:
	$(call say,CLEAN,.output)
	$(Q)rm -rf .output .output-* krait

help:
	@echo 'make            build ./krait'
	@echo 'make profile    profile this host for ten seconds (root; installs what the build lacks)'
	@echo 'make test       every test (root for all of them; installs what they lack)'
	@echo 'make test-unit  one suite: test-tools test-unit test-host test-oracle test-golden test-layouts test-e2e'
	@echo 'make test-fresh     make profile and make test in a bare Debian 12, made for it by debootstrap'
	@echo 'make test-accuracy  how right krait is: a table of errors, a row per CPython'
	@echo 'make test-trust     the promises of SECURITY.md that take minutes to test'
	@echo "make test-kernels   Debian's kernels from 5.10 to the newest, in QEMU"
	@echo 'make fuzz       every parser of foreign bytes, with libFuzzer: FUZZ_S=30 seconds each'
	@echo 'make fuzz-breaks  that each of them finds a check left out on purpose: FUZZ_BREAK_S=120 each'
	@echo 'make lint       formatting, function lengths, include directions, clang-tidy, cppcheck'
	@echo 'make layouts    the tables of offsets against the headers of the CPythons at hand'
	@echo 'make bench      what a sample costs'
	@echo 'make pictures   how that grows with processes, threads, stacks: docs/pictures'
	@echo 'make deps       install what the build needs; deps-test: and the tests'
	@echo 'make install    into DESTDIR/PREFIX/bin (PREFIX=$(PREFIX)); make uninstall'
	@echo 'make clean      remove what was built'
	@echo
	@echo 'V=1 shows commands; CC=clang, CFLAGS=..., SAN=address,undefined, OUT=folder'

# What each compilation found out about its headers (-MMD); -MP lets a header be deleted.
-include $(LIB_OBJ:.o=.d) $(MAIN_OBJ:.o=.d) $(UNIT_TESTS:=.d) $(HOST_TESTS:=.d) $(ORACLE:=.d)
-include $(BPF_SRC:%.c=$(OUT)/%.tmp.d) $(PB_C:.c=.d)
-include $(FUZZ_LIB_OBJ:.o=.d) $(FUZZ_OBJ:.o=.d)

# Intermediate files are products worth keeping here.
.SECONDARY:
