CTL_SOURCES += src/ctl/policy.c src/ctl/policy.h src/ctl/policy_check.c src/ctl/policy_diff.c \
	src/ctl/policy_explain.c src/ctl/policy_facts.c src/ctl/policy_load.c \
	src/ctl/policy_reach.c src/ctl/policy_reach.h src/ctl/policy_test.c \
	src/ctl/json_read.c src/ctl/json_read.h src/ctl/policy_log.c src/ctl/policy_log.h src/ctl/policy_log_facts.c src/ctl/policy_sim.c src/ctl/policy_sim.h \
	src/ctl/policy_sim_report.c src/ctl/policy_simulate.c src/ctl/policy_talk.c src/ctl/policy_talk.h \
	src/ctl/policy_plot.c src/ctl/policy_tune.c src/ctl/policy_tune.h src/ctl/policy_tune_data.c \
	src/ctl/policy_tune_fit.c
CTL_CPPFLAGS += -DWP_CTL_POLICY
CTL_LIBS += $(ROUTER_LIBS)
# The table of commands depends on the line above: make does not see changed flags.
src/ctl/waypostctl-main.$(OBJEXT): src/ctl/policy.mk
