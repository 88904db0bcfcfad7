import HeraldCore
import Testing

@testable import Herald

@Suite struct AccessMetricsTests {
    private func lines(_ access: AccessCounts) -> [String] {
        var text = MetricsWriter()
        MetricsText(
            certificateExpiry: nil, hub: HubStatistics(), log: LogStatistics(), refusals: [:], access: access, loops: 1,
            version: "1", uptime: .zero
        ).appendAccess(to: &text)
        return String(decoding: text.bytes, as: UTF8.self).split(separator: "\n").map(String.init)
    }

    @Test func `numbers stand where their labels say`() {
        var access = AccessCounts(apiKeys: 1, revocations: 2, isOn: true)
        access.admissions = Admissions.Counts(readers: 3, warned: 4, renewed: 5, expired: 6, revoked: 7)
        access.tokens = TokenVerifier.Counts(
            verified: 8, cacheHits: 9, faults: [.badSignature: 10, .expired: 11], keyCount: 12, cachedCount: 13)
        access.tokens.fetches.fetched = 16
        access.tokens.fetches.failed = 2
        let lines = lines(access)
        for line in [
            "herald_access_control 1", "herald_api_keys 1", "herald_revocations 2", "herald_admitted_readers 3",
            "herald_admissions_total{event=\"warned\"} 4", "herald_admissions_total{event=\"renewed\"} 5",
            "herald_admissions_total{event=\"expired\"} 6", "herald_admissions_total{event=\"revoked\"} 7",
            "herald_token_checks_total{outcome=\"accepted\"} 8", "herald_token_cache_hits_total 9",
            "herald_token_checks_total{outcome=\"bad_signature\"} 10",
            "herald_token_checks_total{outcome=\"expired\"} 11", "herald_token_keys 12",
            "herald_token_cache_entries 13",
            "herald_token_key_fetches_total{outcome=\"ok\"} 14", "herald_token_key_fetches_total{outcome=\"failed\"} 2",
        ] {
            #expect(lines.contains(line), "\(line)")
        }
    }

    @Test func `series are there before anything happened`() {
        let lines = lines(AccessCounts())
        #expect(lines.contains("herald_access_control 0"))
        let outcomes = lines.filter { $0.hasPrefix("herald_token_checks_total{") }
        #expect(outcomes.count == 1 + TokenFault.Kind.allCases.count)
        #expect(outcomes.allSatisfy { $0.hasSuffix(" 0") })
        #expect(lines.filter { $0.hasPrefix("# TYPE ") }.count == 10)
    }

    @Test func `what happens is counted`() async throws {
        try await RunningService.run { service in
            let token = try await service.token()
            for _ in 0..<2 { #expect(await service.ask("POST /v1/events/a", as: token, body: "1").status == 201) }
            #expect(await service.ask("POST /v1/events/a", as: "x", body: "1").status == 401)
            #expect(await service.ask("POST /v1/events/a", body: "1").status == 401)
            let reader = await service.stream(as: token)
            let text = await service.ask("GET /metrics").text
            for line in [
                "herald_access_control 1", "herald_token_checks_total{outcome=\"accepted\"} 1",
                "herald_token_checks_total{outcome=\"malformed\"} 1", "herald_token_cache_hits_total 2",
                "herald_admitted_readers 1", "herald_publish_refused_total{reason=\"invalid_token\"} 1",
                "herald_publish_refused_total{reason=\"unauthorized\"} 1",
            ] {
                #expect(text.contains("\n\(line)\n"), "\(line)")
            }
            _ = consume reader
        }
    }
}
