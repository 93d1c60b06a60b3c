# The commands of a working day; each is a script under deploy/local that can be called alone.

sources := Package.swift Services Shared Tests

# Tests that others would starve, and tests that starve others.
serial := IntegrationTests|DrillTests|DeployTests|NginxTests
stores := RedisStoreTests|TurnProtocolTests|TestServersTests
database := PostgresStoreTests
broker := RabbitQueueTests
calculating := LlamaEngineTests|ModelFileTests

.PHONY: help up down status logs monitor test drill fmt bench

help: ## list these commands
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 8

up: ## set up, build and start everything on 127.0.0.1 (DETACH=1 returns; GATEWAY_PORT=8080)
	@deploy/local/cluster up

down: ## stop what `make up` started; the data stay
	@deploy/local/cluster down

status: ## what of it runs, and on which port
	@deploy/local/cluster status

logs: ## what its services say, until Ctrl-C
	@deploy/local/cluster logs

monitor: ## Prometheus with our alerts over the running cluster, on 127.0.0.1:9090 (MONITOR_PORT)
	@deploy/local/monitor

test: ## set up and run every test, on real servers of its own
	@deploy/local/setup test
	Tests/Kernels/run
	Tests/Kernels/run aarch64 # cross-compiled, emulated
	swift build --build-tests
	deploy/local/run-tests --skip '$(calculating)' --skip '$(serial)' --skip '$(stores)' --skip '$(database)' --skip '$(broker)'
	deploy/local/run-tests --filter '$(stores)'
	deploy/local/run-tests --filter '$(database)'
	deploy/local/run-tests --filter '$(broker)'
	deploy/local/run-tests --no-parallel --filter '$(serial)' # one cluster at a time
	deploy/local/run-tests --filter '$(calculating)' # alone: they keep every core busy

drill: ## faults against a whole cluster (ARGS="--minutes 5 --seed 1 --turns 300"; ARGS=pauses measures the silences)
	@deploy/local/setup test
	swift build
	.build/debug/drill $(ARGS)

fmt: ## format the Swift sources
	swift format -i -r $(sources)

bench: ## measure the running cluster and the engine
	@deploy/local/bench
