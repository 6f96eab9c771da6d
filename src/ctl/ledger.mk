# waypostctl ledger and certs
CTL_SOURCES += src/ctl/certs.c
CTL_CPPFLAGS += -DWP_CTL_CERTS
