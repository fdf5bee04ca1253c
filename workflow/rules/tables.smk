# Records to tidy tables.


rule tables:
    input:
        runs=run_files(RESULTS, CONFIG),
        times=[
            RESULTS / f"times/{cell.dataset}/{cell.model}/{cell.method}.json"
            for cell in cells(CONFIG)
        ],
    output:
        tables=directory(RESULTS / "tables"),
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
        " --times {input.times:q} --output {output.tables:q} --provenance {output.provenance:q}"
        " --log {log:q}"
