# The seconds of a cell's runs, each measured with the whole machine to itself.


rule time:
    input:
        config=ancient(rules.resolved_config.output[0]),
        splits=lambda wildcards: [
            RESULTS / f"splits/{wildcards.dataset}/{chunk}.npz"
            for chunk in chunks(CONFIG, CONFIG["timed_seeds"])
        ],
        metadata=rules.data.output.metadata,
    output:
        RESULTS / "times/{dataset}/{model}/{method}.json",
    log:
        RESULTS / "logs/times/{dataset}/{model}/{method}.log",
    params:
        seeds=CONFIG["timed_seeds"],
        settings=settings_of,
        code=code_hash("time"),
        versions=versions(["torch"]),
    # All cores keep other jobs out, the machine keeps out those that measure too.
    threads: workflow.cores
    resources:
        machine=1,
    conda:
        "../../environment.yml"
    shell:
        "python -m fgbench time --config {input.config} --dataset {wildcards.dataset}"
        " --model {wildcards.model} --method {wildcards.method} --seeds {params.seeds}"
        " --splits {input.splits} --metadata {input.metadata} --output {output} --log {log}"
