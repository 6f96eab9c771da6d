# waypost-cloud-stub: the bundled cloud tier.
bin_PROGRAMS += waypost-cloud-stub
waypost_cloud_stub_SOURCES = \
	src/cloud-stub/chat.c src/cloud-stub/chat.h \
	src/cloud-stub/config.c src/cloud-stub/config.h \
	src/cloud-stub/form.c \
	src/cloud-stub/keys.c src/cloud-stub/keys.h \
	src/cloud-stub/main.c \
	src/cloud-stub/serve.c \
	src/cloud-stub/split.c \
	src/cloud-stub/stub.h
waypost_cloud_stub_LDADD = $(API_LIBS) $(ENGINE_LIBS) $(WIRE_LIBS) $(NETH2S_LIBS) $(NETLOCAL_LIBS) \
	$(BASE_LIBS)
