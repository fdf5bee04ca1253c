# The study of config/config.yaml: upstream files -> splits -> runs -> tables -> one report.
# Another study: snakemake --cores 4 --configfile my-study.yaml
if not workflow.overwrite_configfiles:

    configfile: "config/config.yaml"


include: "workflow/rules/common.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/cost.smk"
include: "workflow/rules/tables.smk"
include: "workflow/rules/report.smk"


rule all:
    default_target: True
    input:
        RESULTS / "report.html",


onstart:
    write_config(RESOLVED, CONFIG)
