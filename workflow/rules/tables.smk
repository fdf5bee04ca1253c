# Records to tidy tables.


rule tables:
    input:
        runs=[
            file.replace("CHUNK", str(chunk))
            for file in cell_files("runs/{dataset}/{model}/{method}/CHUNK.json")
            for chunk in CHUNKS
        ],
        times=cell_files("times/{dataset}/{model}/{method}.json"),
    output:
        directory(RESULTS / "tables"),
    log:
        RESULTS / "logs/tables.log",
    conda:
        "../../environment.yml"
    params:
        code=code_hash("tables"),
        versions=versions(["pandas", "pyarrow", "scipy"]),
    shell:
        "python -m fgbench tables --runs {input.runs:q} --times {input.times:q}"
        " --output {output:q} --log {log:q}"
