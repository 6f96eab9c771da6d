# waypostctl policy keygen, sign, verify. Before policy.mk: the store's library needs the router's.
CTL_SOURCES += src/ctl/policy_sign.c
CTL_LIBS += $(STORE_LIBS)
