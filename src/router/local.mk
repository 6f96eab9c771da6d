noinst_LIBRARIES += libwp_router.a
libwp_router_a_SOURCES = src/router/router.h src/router/facts.h src/router/detect.h
libwp_router_a_CFLAGS = $(AM_CFLAGS) $(YAML_CFLAGS) $(PCRE2_CFLAGS)
ROUTER_LIBS = libwp_router.a $(YAML_LIBS) $(PCRE2_LIBS)
