# Builds, installs, tests and shows polycgi. `make help` lists what there is.

PREFIX ?= /usr/local
DESTDIR ?=
CARGO ?= cargo
# Words of tests' names; not from the environment, where a T of another meaning would leave tests out.
T =
# Where cargo builds, and where what the tests need is kept between runs.
TARGET := $(or $(CARGO_TARGET_DIR),target)
BINARY := $(TARGET)/release/polycgi
APPLETS := cgi-front app-cgi scgi-daemon overload-page

INTO := $(DESTDIR)$(PREFIX)
DOCS := README.md LICENSE-MIT LICENSE-APACHE packaging/CHANGELOG.md $(wildcard packaging/doc/*.md)
# Its links lead into the sources: of these, the guides lie beside it.
README_EDITS := -e '/^!\[.*](packaging/d' -e 's|](packaging/doc/|](|g' -e 's|packaging/examples|share/polycgi/examples|g' \
	-e 's|\[packaging/CONTRIBUTING.md](packaging/CONTRIBUTING.md)|packaging/CONTRIBUTING.md of the sources|g'
MAN := $(wildcard packaging/man/*.[158])
# Two names more of one page.
MAN_LINKS := app-cgi.8 overload-page.8
EXAMPLES := $(wildcard packaging/examples/*.* packaging/examples/*/*)
# Where the shells look for completions: bash and fish by the name of the command.
BASH_INTO := share/bash-completion/completions
ZSH_INTO := share/zsh/site-functions
FISH_INTO := share/fish/vendor_completions.d
# systemd reads these below /usr and /usr/local only: elsewhere an installation leaves the host as it is.
TMPFILES := lib/tmpfiles.d/polycgi.conf
UNITS := $(wildcard packaging/systemd/*)
IS_HOSTS := $(filter /usr /usr/local,$(patsubst %/,%,$(PREFIX)))

# $(call put,MODE,FILE,PLACE): written beside and renamed, since what is there may be running.
put = install -D -m $(1) $(2) $(INTO)/$(3).new && mv -f $(INTO)/$(3).new $(INTO)/$(3)
# $(call put-all,MODE,FILES,FOLDER)
define put-each
	$(call put,$(1),$(2),$(3))

endef
put-all = $(foreach file,$(2),$(call put-each,$(1),$(file),$(3)/$(notdir $(file))))

# Where packages are put.
PACKAGES := $(TARGET)
# The time that files in packages have, in seconds.
SOURCE_DATE_EPOCH ?= $(shell git log -1 --pretty=%ct 2>/dev/null || stat -c %Y packaging/CHANGELOG.md)

.DEFAULT_GOAL := build
.PHONY: help build install uninstall deb tarball rpm check-reproducible deps check test test-loaded test-matrix demo bench clean

help:
	@echo 'make build      the program, linked statically: $(BINARY)'
	@echo 'make install    into PREFIX (/usr/local), below DESTDIR; make uninstall takes it away'
	@echo 'make deb        a package for Debian: $(PACKAGES)/polycgi_VERSION_ARCHITECTURE.deb; make rpm one for RPM'
	@echo 'make tarball    one that needs no root: $(PACKAGES)/polycgi-VERSION-linux-MACHINE.tar.gz'
	@echo 'make check-reproducible   builds twice, in two folders, and compares'
	@echo 'make check      format, lints, unit tests, the rooms of the house'
	@echo 'make test       installs what the tests need, then check and the tests on real servers'
	@echo 'make test T=WORD   only the tests on real servers whose names hold the word, with what they need'
	@echo 'make test-loaded   the tests on real servers, three times beside busy loops and a disk writer; takes T too'
	@echo 'make test-matrix   every web server by every kind of app by every client; prints the table of the README'
	@echo 'make demo       a page that sends visitors to an app, and shows how they are served; ONCE=1 needs no browser'
	@echo 'make bench      measures, beside the peers; BENCH="--quick front" chooses (see tests/bench/bench --help)'

# The entry point: src/express, where there is one for this processor.
ENTRY_x86_64 := -C link-arg=-Wl,--entry=express_start,--require-defined=express_start
# Few segments, and none that is touched for nothing: as GNU ld lays them out, without gaps between code and data.
LAYOUT := -C link-arg=-fuse-ld=bfd -C link-arg=-Wl,-z,noseparate-code -C link-arg=-Wl,-T,src/layout.ld

# Panics name source files: as if the crates lay here, wherever this user's lie.
REMAP = --remap-path-prefix=$${CARGO_HOME:-$$HOME/.cargo}=/cargo

# How it is linked is not in RUSTFLAGS: without --target they reach the macros too, which can't be static.
build:
	RUSTFLAGS="$$RUSTFLAGS $(REMAP)" $(CARGO) rustc --release --bin polycgi -- \
		-C target-feature=+crt-static -C relocation-model=static $(ENTRY_$(shell uname -m)) $(LAYOUT)

# Only when it is missing: root, who installs, may have no cargo.
$(BINARY):
	$(MAKE) build

# What `cargo build` puts in the same place.
define refuse-slow
if [ '$(SLOW)' != 1 ] && $(BINARY) --version 2>/dev/null | grep -q 'fast path, which only'; then \
	echo 'make install: $(BINARY) is without the fast path, as `cargo build` links it:' \
		'`make build` links it anew, `make install SLOW=1` installs it as it is' >&2; \
	exit 1; \
fi
endef

install: $(BINARY)
	@$(refuse-slow)
	$(call put,755,$(BINARY),bin/polycgi)
	@for applet in $(APPLETS); do \
		ln -sf polycgi $(INTO)/bin/$$applet.new && mv -fT $(INTO)/bin/$$applet.new $(INTO)/bin/$$applet || exit; \
	done
	$(call put-all,644,$(wildcard $(DOCS)),share/doc/polycgi)
	@sed -i $(README_EDITS) $(INTO)/share/doc/polycgi/README.md
	$(foreach section,1 5 8,$(call put-all,644,$(filter %.$(section),$(MAN)),share/man/man$(section)))
	@for page in $(MAN_LINKS); do \
		ln -sf cgi-front.8 $(INTO)/share/man/man8/$$page || exit; \
	done
	$(foreach example,$(EXAMPLES),$(call put-each,644,$(example),share/polycgi/$(example:packaging/%=%)))
	$(call put,644,packaging/completions/polycgi.bash,$(BASH_INTO)/polycgi)
	ln -sf polycgi $(INTO)/$(BASH_INTO)/scgi-daemon
	$(call put,644,packaging/completions/_polycgi,$(ZSH_INTO)/_polycgi)
	$(call put,644,packaging/completions/polycgi.fish,$(FISH_INTO)/polycgi.fish)
	ln -sf polycgi.fish $(INTO)/$(FISH_INTO)/scgi-daemon.fish
	$(if $(IS_HOSTS),$(call put,644,packaging/tmpfiles.d/polycgi.conf,$(TMPFILES)))
	$(if $(IS_HOSTS),$(call put-all,644,$(UNITS),lib/systemd/system))
	$(if $(IS_HOSTS),$(if $(DESTDIR),,@$(make-run)))

# At once, and not only at the next boot.
define make-run
if [ "$$(id -u)" = 0 ]; then \
	systemd-tmpfiles --create $(INTO)/$(TMPFILES) 2>/dev/null || \
	[ -d /run/polycgi ] || mkdir -m 1777 /run/polycgi || \
	echo 'make install: cannot make /run/polycgi: places will be in /tmp' >&2; \
fi
endef

uninstall:
	rm -f $(addprefix $(INTO)/bin/,polycgi $(APPLETS))
	rm -f $(foreach page,$(notdir $(MAN)) $(MAN_LINKS),$(INTO)/share/man/man$(subst .,,$(suffix $(page)))/$(page))
	rm -f $(addprefix $(INTO)/$(BASH_INTO)/,polycgi scgi-daemon) $(INTO)/$(ZSH_INTO)/_polycgi
	rm -f $(addprefix $(INTO)/$(FISH_INTO)/,polycgi.fish scgi-daemon.fish)
	rm -rf $(INTO)/share/doc/polycgi $(INTO)/share/polycgi
	$(if $(IS_HOSTS),rm -f $(INTO)/$(TMPFILES) $(addprefix $(INTO)/lib/systemd/system/,$(notdir $(UNITS))))

# Of the program that BINARY names on the command line, otherwise of one that is built.
deb tarball rpm: $(if $(filter file,$(origin BINARY)),build)
	@BINARY='$(BINARY)' SOURCE_DATE_EPOCH='$(SOURCE_DATE_EPOCH)' \
		packaging/$(if $(filter deb,$@),debian,$@)/build '$(PACKAGES)'

check-reproducible:
	packaging/reproducible

deps:
	tests/install-deps.sh $(TARGET)/hg

check:
	$(CARGO) fmt --check
	$(CARGO) clippy --all-targets -- -D warnings
	$(CARGO) test --lib
	$(CARGO) test --test rooms

test: deps $(if $(T),,check) build
	tests/run $(TARGET)/hg $(T)

test-loaded: deps build
	tests/loaded $(TARGET)/hg $(T)

test-matrix: deps build
	tests/matrix $(TARGET)/hg

demo: build
	ONCE=$(ONCE) packaging/demo/demo

bench: build
	tests/bench/bench $(BENCH)

clean:
	$(CARGO) clean
	rm -rf $(addprefix $(TARGET)/,hg green wikis debs)
