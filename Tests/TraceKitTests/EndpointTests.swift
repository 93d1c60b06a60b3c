import ServiceKit
import Testing

@testable import TraceKit

@Suite struct EndpointTests {
    private func endpoint(_ environment: [String: String]) throws -> OTLPEndpoint? {
        try OTLPEndpoint(Settings(environment: environment))
    }

    @Test func withoutASettingThereIsNone() throws {
        #expect(try endpoint([:]) == nil)
        #expect(try endpoint(["OTEL_EXPORTER_OTLP_ENDPOINT": ""]) == nil)
    }

    @Test(arguments: ["http://127.0.0.1:4318", "http://127.0.0.1:4318/", "https://collector.example/otlp"])
    func thePathOfTracesIsAdded(_ base: String) throws {
        let endpoint = try #require(try endpoint(["OTEL_EXPORTER_OTLP_ENDPOINT": base]))
        #expect(endpoint.url == (base.hasSuffix("/") ? base : base + "/") + "v1/traces")
    }

    @Test(arguments: ["localhost:4318", "ftp://x", "http://", "http://x?y=1", "unix:/x", "http://a b"])
    func whatIsNoURLStopsTheService(_ base: String) {
        let error = #expect(throws: SettingsError.self) { try endpoint(["OTEL_EXPORTER_OTLP_ENDPOINT": base]) }
        #expect(error?.description.contains("OTEL_EXPORTER_OTLP_ENDPOINT") == true)
    }

    @Test func headersAreAList() throws {
        let environment = [
            "OTEL_EXPORTER_OTLP_ENDPOINT": "http://x",
            "OTEL_EXPORTER_OTLP_HEADERS": "authorization=Bearer%20s3cret, x-scope = a=b",
        ]
        #expect(try endpoint(environment)?.headers == ["authorization": "Bearer s3cret", "x-scope": "a=b"])
    }

    @Test(arguments: ["s3cret", "=s3cret", "a b=s3cret", "a=s3cret%0D%0AX: y", "a=%zzs3cret"])
    func aBadHeaderStopsTheServiceAndIsNotRepeated(_ headers: String) {
        let environment = ["OTEL_EXPORTER_OTLP_ENDPOINT": "http://x", "OTEL_EXPORTER_OTLP_HEADERS": headers]
        let error = #expect(throws: SettingsError.self) { try endpoint(environment) }
        #expect(error?.description.contains("OTEL_EXPORTER_OTLP_HEADERS") == true)
        #expect(error?.description.contains("s3cret") == false)
    }

    @Test(arguments: ["-0.1", "1.5", "nan", "half", "inf"]) func theShareIsAShare(_ share: String) {
        #expect(throws: SettingsError.self) { try Settings(environment: ["OTEL_TRACES_SAMPLER_ARG": share]) }
    }
}
