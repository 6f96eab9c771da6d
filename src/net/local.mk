# Two libraries: the edge links only the first, so it cannot link libcurl or libssl.
noinst_LIBRARIES += libwp_netlocal.a libwp_neth2.a
libwp_netlocal_a_SOURCES = src/net/local/loop.h src/net/local/loop.c src/net/local/http.h \
	src/net/local/http_int.h src/net/local/http.c src/net/local/http_conn.c src/net/local/http_req.c
libwp_netlocal_a_CFLAGS = $(AM_CFLAGS) $(EVENT_CFLAGS)
NETLOCAL_LIBS = libwp_netlocal.a $(EVENT_LIBS)

libwp_neth2_a_SOURCES = src/net/h2/server.h src/net/h2/client.h \
	src/net/h2/client.c src/net/h2/client_curl.c src/net/h2/client_impl.h
libwp_neth2_a_SOURCES += src/net/h2/tls.h src/net/h2/tls.c src/net/h2/server_int.h src/net/h2/server.c \
	src/net/h2/server_conn.c src/net/h2/server_stream.c
libwp_neth2_a_CFLAGS = $(AM_CFLAGS) $(EVENT_CFLAGS) $(EVENT_SSL_CFLAGS) $(SSL_CFLAGS) $(NGHTTP2_CFLAGS) $(CURL_CFLAGS)
NETH2_LIBS = libwp_neth2.a $(EVENT_SSL_LIBS) $(SSL_LIBS) $(CRYPTO_LIBS)
NETH2S_LIBS = $(NETH2_LIBS) $(NGHTTP2_LIBS)
NETH2C_LIBS = $(NETH2_LIBS) $(CURL_LIBS)
