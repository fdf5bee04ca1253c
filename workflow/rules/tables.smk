# Records to tidy tables.


rule tables:
    input:
        runs=run_files(RESULTS, CONFIG),
        operations=rules.operations.output[0],
        cost=rules.cost.output[0],
        scaling=rules.scaling.output[0],
        tuning=tuning_files(RESULTS, CONFIG),
        tuned=tuned_file(),
        laws=laws_files(RESULTS, CONFIG),
        probes=probe_files(RESULTS, CONFIG),
    output:
        tables=directory(RESULTS / "tables"),
        archive=RESULTS / "tables.zip",
        provenance=RESULTS / "provenance.json",
    log:
        RESULTS / "logs/tables.log",
    conda:
        "../../environment.yml"
    params:
        config=RESOLVED,
        values=CONFIG,
        code=code_hash("tables"),
        versions=versions(["pandas", "pyarrow", "scipy"]),
    shell:
        "python -m fgbench tables --config {params.config:q} --runs {input.runs:q}"
        " --operations {input.operations:q} --cost {input.cost:q} --scaling {input.scaling:q}"
        " --tuning {input.tuning:q} --tuned {input.tuned:q} --laws {input.laws:q} --probes {input.probes:q}"
        " --output {output.tables:q} --archive {output.archive:q}"
        " --provenance {output.provenance:q} --log {log:q}"
