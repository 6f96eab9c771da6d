noinst_LIBRARIES += libwp_router.a
libwp_router_a_SOURCES = \
	src/router/cases.c src/router/cases.h \
	src/router/check.c \
	src/router/classes.c \
	src/router/codes.c src/router/codes.h \
	src/router/compile.c src/router/compile.h \
	src/router/cond.c \
	src/router/data.h \
	src/router/dead.c \
	src/router/cover.c src/router/cover.h \
	src/router/decide.c \
	src/router/declare.c \
	src/router/detect.c src/router/detect.h \
	src/router/detect_norm.c src/router/detect_norm.h \
	src/router/diff.c src/router/diff.h \
	src/router/diff_match.c \
	src/router/diff_vars.c src/router/diff_vars.h \
	src/router/env.c \
	src/router/explain.c \
	src/router/facts.c src/router/facts.h \
	src/router/glob.c \
	src/router/implies.c \
	src/router/include.c \
	src/router/index.c \
	src/router/narrow.c \
	src/router/given.c src/router/given.h \
	src/router/numbers.c src/router/numbers.h \
	src/router/policy.c src/router/policy.h \
	src/router/reach.c \
	src/router/router.h \
	src/router/rule.c \
	src/router/share.c \
	src/router/text.c \
	src/router/values.c \
	src/router/yaml.c
libwp_router_a_CFLAGS = $(AM_CFLAGS) $(YAML_CFLAGS) $(PCRE2_CFLAGS)
ROUTER_LIBS = libwp_router.a $(YAML_LIBS) $(PCRE2_LIBS)
