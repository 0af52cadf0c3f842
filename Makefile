# make demo   train and compare four models on three small clips, then print where the report is
# make test   the tests (under ten minutes on two cores); test-all adds the slow ones
# make bench  the benchmarks
# make gpu [FILMS=FOLDER]    what the zoo does on this machine's GPU, in nine minutes (docs/gpu.md)
# make results FILMS=FOLDER  results/ again, from the films in FOLDER (docs/films.md)
# make coded-pca FILMS=FOLDER     results/coded-pca.md again: every model, PCA and codecs on four films
# make bundled               the trained run that comes with film-zoo, again
# make lint   ruff and mypy
# make audit  known vulnerabilities of what is installed, by pip-audit

PYTHON ?= python3
BIN    := .venv/bin
READY  := .venv/.ready

.PHONY: demo test test-all bench gpu results coded-pca bundled lint audit clean
.DEFAULT_GOAL := demo

$(READY): pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[dev]"
	@touch $@

demo: $(READY)
	@mkdir -p demo
	cd demo && ../$(BIN)/zoo compare --films all --models ae,vae,vaegan,perceptual --preset quick
	@echo "the report: demo/results/report.md"

test: $(READY)
	$(BIN)/python -m pytest -n 2 -m "not slow"

test-all: test
	$(BIN)/python -m pytest -n 2 -m slow

# The peers that the benchmarks race against are installed for them alone.
.venv/.bench: $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[bench]"
	@touch $@

bench: .venv/.bench
	$(BIN)/python -m pytest benchmarks --benchmark-columns=median,iqr,rounds

gpu: $(READY)
	$(BIN)/python -m benchmarks.gpu $(if $(FILMS),--films "$(FILMS)")

TEARS  := tears_of_steel_battle_800x332.webm
BUNNY  := big_buck_bunny_256x144.mp4
SINTEL := sintel_trailer_1280x720.mp4
POPEYE := $(foreach part,1 2 3 4,popeye_meets_sinbad_part$(part).mkv)

define find_films
	@cd "$(FILMS)" 2>/dev/null && ls $(TEARS) $(BUNNY) $(SINTEL) $(POPEYE) >/dev/null || \
	  { echo "make $@ FILMS=FOLDER; docs/films.md says which films it has" >&2; exit 2; }
endef

# The arguments are a workspace, two folders below this one, and frames per second of the two long films,
# as options of `zoo films add`; without them every frame is used.
define add_films
	mkdir -p $(1)
	rm -f $(1)/films.toml
	cd $(1) && ../../$(BIN)/zoo films add --name tears "$(abspath $(FILMS))/$(TEARS)" \
	  --title "Tears of Steel (the battle)" --licence "CC BY 3.0, Blender Foundation"
	cd $(1) && ../../$(BIN)/zoo films add --name sintel "$(abspath $(FILMS))/$(SINTEL)" \
	  --title "Sintel (trailer)" --licence "CC BY 3.0, Blender Foundation"
	cd $(1) && ../../$(BIN)/zoo films add --name bunny "$(abspath $(FILMS))/$(BUNNY)" $(2) \
	  --title "Big Buck Bunny (whole)" --licence "CC BY 3.0, Blender Foundation"
	cd $(1) && ../../$(BIN)/zoo films add --as-one popeye \
	  $(foreach part,$(POPEYE),"$(abspath $(FILMS))/$(part)") $(3) \
	  --title "Popeye the Sailor Meets Sindbad the Sailor (excerpts)" \
	  --licence "public domain (Library of Congress)"
endef

# Hours: what is stopped goes on where it was, by the same command. The first two models stand beside the film
# in its video with sound.
MODELS  := vaegan,coded_pca,ae,vae,perceptual
COMPARE := ../../$(BIN)/zoo compare --preset laptop --models $(MODELS) --videos 3

results: $(READY)
	$(call find_films)
	$(call add_films,demo/full-size)
	cd demo/full-size && $(COMPARE) --films bunny --out whole-film
	cd demo/full-size && $(COMPARE) --films tears,popeye,sintel --seeds 3 --out three-seeds
	cd demo/full-size && ../../$(BIN)/zoo report whole-film three-seeds --into merged-report
	cd demo/full-size && ../../$(BIN)/zoo reconstruct --models vaegan,coded_pca --film bunny --beside --from 00:06:02 --to 00:06:07 \
	  --overwrite -o ../../results/bunny.webp
	rm -rf $(addprefix results/,figures merged series videos viewer)
	cp -r demo/full-size/merged-report/. results/
	$(BIN)/zoo report results

coded-pca: $(READY)
	$(call find_films)
	$(call add_films,demo/coded-pca,--fps 3,--fps 6)
	$(BIN)/python -m benchmarks.coded_pca_leads --films tears,sintel,popeye,bunny --latent 50 \
	  --budget 8000frames --workers 2 --work demo/coded-pca --out results/coded-pca.md
	$(BIN)/python -m benchmarks.coded_pca_leads --films tears --models coded_pca --latent 50 --budget 24000frames \
	  --holdout 0 --workers 1 --work demo/coded-pca --out results/coded-pca-all-seen.md
	$(BIN)/python -m benchmarks.model_strip --films tears,bunny --models coded_pca,pca,perceptual \
	  --latent 50 --budget 8000frames --work demo/coded-pca --out results/coded-pca.webp

bundled: $(READY)
	$(BIN)/python -m benchmarks.bundled_run --work demo/bundled

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Asks a public service about every package: without it none is audited, and this fails.
audit: $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check pip-audit
	$(BIN)/python -m pip_audit --strict --skip-editable --progress-spinner off

clean:
	rm -rf .venv demo build *.egg-info
