CTL_SOURCES += src/ctl/policy.c \
	src/ctl/policy_reach.c src/ctl/policy_reach.h
CTL_CPPFLAGS += -DWP_CTL_POLICY
CTL_LIBS += $(ROUTER_LIBS)
# The table of commands depends on the line above: make does not see changed flags.
src/ctl/waypostctl-main.$(OBJEXT): src/ctl/policy.mk
