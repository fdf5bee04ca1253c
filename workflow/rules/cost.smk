# The seconds of a cell's runs, each measured with the whole machine to itself.


rule time:
    input:
        splits=lambda wildcards: [
            RESULTS / f"splits/{wildcards.dataset}/{chunk}.npz"
            for chunk in chunks(CONFIG, CONFIG["timed_seeds"])
        ],
        metadata=rules.data.output.metadata,
    output:
        RESULTS / "times/{dataset}/{model}/{method}.json",
    log:
        RESULTS / "logs/times/{dataset}/{model}/{method}.log",
    conda:
        "../../environment.yml"
    # All cores keep other jobs out, the machine keeps out those that measure too.
    threads: lambda wildcards: workflow.cores
    resources:
        machine=1,
    params:
        config=RESOLVED,
        seeds=CONFIG["timed_seeds"],
        settings=settings_of,
        code=code_hash("time"),
        versions=versions(["torch"]),
    shell:
        "python -m fgbench time --config {params.config:q} --dataset {wildcards.dataset}"
        " --model {wildcards.model} --method {wildcards.method} --seeds {params.seeds}"
        " --splits {input.splits:q} --metadata {input.metadata:q} --output {output:q} --log {log:q}"
