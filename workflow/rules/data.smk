# Upstream files, verified, to one file of samples a data set; then each seed's split.


rule data:
    input:
        config=ancient(rules.resolved_config.output[0]),
    output:
        samples=RESULTS / "data/{dataset}.npz",
        metadata=RESULTS / "data/{dataset}.json",
    log:
        RESULTS / "logs/data/{dataset}.log",
    params:
        settings=lambda wildcards: data_settings(CONFIG, wildcards.dataset),
        code=code_hash("data"),
        versions=versions(["tensorflow-datasets", "torchvision", "scikit-learn"]),
    conda:
        "../../environment.yml"
    shell:
        "python -m fgbench data --config {input.config} --dataset {wildcards.dataset}"
        " --samples {output.samples} --metadata {output.metadata} --log {log}"


rule split:
    input:
        config=ancient(rules.resolved_config.output[0]),
        samples=rules.data.output.samples,
        metadata=rules.data.output.metadata,
    output:
        RESULTS / "splits/{dataset}/{chunk}.npz",
    log:
        RESULTS / "logs/splits/{dataset}/{chunk}.log",
    params:
        seeds=seeds_of,
        settings=lambda wildcards: split_settings(CONFIG, wildcards.dataset),
        code=code_hash("split"),
        versions=versions(["scikit-learn", "torch", "torchvision"]),
    conda:
        "../../environment.yml"
    shell:
        "python -m fgbench split --config {input.config} --dataset {wildcards.dataset}"
        " --seeds {params.seeds} --samples {input.samples} --metadata {input.metadata}"
        " --output {output} --log {log}"
