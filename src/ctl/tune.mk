# waypostctl tune
CTL_SOURCES += src/ctl/fit.c src/ctl/fit.h src/ctl/fit_logit.c src/ctl/tune.c src/ctl/tune.h \
	src/ctl/tune_file.c src/ctl/tune_fit.c src/ctl/tune_log.c src/ctl/tune_report.c \
	src/ctl/tune_run.c
CTL_CPPFLAGS += -DWP_CTL_TUNE
CTL_LIBS += $(API_LIBS) $(ENGINE_LIBS)
