# Tables to one page.


rule report:
    input:
        tables=rules.tables.output.tables,
        provenance=rules.tables.output.provenance,
        verification=rules.verify.output[0],
        samples=expand(rules.data.output.samples, dataset=datasets()),
        metadata=expand(rules.data.output.metadata, dataset=datasets()),
    output:
        RESULTS / "report.html",
    log:
        RESULTS / "logs/report.log",
    conda:
        "../../environment.yml"
    params:
        config=RESOLVED,
        values=CONFIG,
        code=code_hash("report"),
        templates=folder_hash(Path(workflow.basedir) / "report"),
        versions=versions(["jinja2", "matplotlib", "pandas"]),
    shell:
        "python -m fgbench report --config {params.config:q} --tables {input.tables:q}"
        " --samples {input.samples:q} --metadata {input.metadata:q} --provenance {input.provenance:q}"
        " --verification {input.verification:q} --output {output:q} --log {log:q}"
