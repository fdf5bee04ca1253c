# Runs against the references that the config names: does this study reproduce them?


rule verify:
    input:
        runs=run_files(RESULTS, CONFIG),
        operations=rules.operations.output[0],
        references=CONFIG["references"],
    output:
        RESULTS / "verification.json",
    log:
        RESULTS / "logs/verification.log",
    conda:
        "../../environment.yml"
    params:
        results=RESULTS,
        code=code_hash("verify"),
    shell:
        "python -m fgbench verify {params.results:q} --output {output:q} --log {log:q}"
