# waypostctl model
CTL_SOURCES += src/ctl/model.c src/ctl/model.h src/ctl/model_bench.c src/ctl/model_info.c \
	src/ctl/model_calibrate.c src/ctl/model_compare.c src/ctl/model_compare.h src/ctl/model_quantize.c src/ctl/model_run.c \
	src/ctl/model_run.h src/ctl/model_score.c src/ctl/model_tok.c
CTL_CPPFLAGS += -DWP_CTL_MODEL
CTL_LIBS += $(ENGINE_LIBS)
