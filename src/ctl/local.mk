bin_PROGRAMS += waypostctl
CTL_CPPFLAGS =
CTL_LIBS =
# One fragment a command family: adds its sources, its -DWP_CTL_… and its libraries.
CTL_SOURCES =
include src/ctl/model.mk
if !ENGINE_ONLY
include src/ctl/policy_sign.mk
include src/ctl/tune.mk
include src/ctl/policy.mk
include src/ctl/ledger.mk
endif
waypostctl_SOURCES = src/ctl/main.c src/ctl/ctl.h $(CTL_SOURCES)
waypostctl_CPPFLAGS = $(AM_CPPFLAGS) $(CTL_CPPFLAGS)
waypostctl_CFLAGS = $(AM_CFLAGS) $(JANSSON_CFLAGS) $(CRYPTO_CFLAGS)
waypostctl_LDADD = $(CTL_LIBS) $(BASE_LIBS) $(JANSSON_LIBS)
# Each family adds a -D: main.c must see it when a fragment changes.
$(waypostctl_OBJECTS): Makefile
