noinst_LIBRARIES += libwp_api.a
libwp_api_a_SOURCES = \
	src/api/catalogue.c src/api/catalogue.h src/api/catalogue_int.h \
	src/api/catalogue_line.c \
	src/api/catalogue_offer.c \
	src/api/catalogue_said.c \
	src/api/catalogue_value.c \
	src/api/chat.h \
	src/api/json.c src/api/json.h \
	src/api/request.c src/api/request_int.h \
	src/api/request_msg.c \
	src/api/request_tools.c \
	src/api/request_write.c \
	src/api/response.c \
	src/api/scan.c \
	src/api/schema.c src/api/schema.h src/api/schema_int.h \
	src/api/schema_num.c \
	src/api/schema_obj.c \
	src/api/schema_str.c \
	src/api/stream.c src/api/stream.h \
	src/api/tools.c src/api/tools.h
libwp_api_a_CFLAGS = $(AM_CFLAGS) $(JANSSON_CFLAGS)
API_LIBS = libwp_api.a $(JANSSON_LIBS)
