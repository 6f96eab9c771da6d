# waypostctl ledger and certs
CTL_SOURCES += src/ctl/certs.c src/ctl/ledger.c
CTL_CPPFLAGS += -DWP_CTL_CERTS -DWP_CTL_LEDGER
CTL_LIBS += libwp_ledger.a
