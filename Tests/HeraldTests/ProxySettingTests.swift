import HeraldCore
import Testing

@testable import Herald

/// Samples of the settings that bound crowds, as `samples` has those of the others.
let crowdSamples: [String: [String]] = [
    "trusted-proxies": ["10.0.0.0/8", "2001:db8::1"], "forwarded-header": ["forwarded"],
    "max-connections-per-address": ["7"], "handshake-rate": ["7"], "publish-rate": ["7"], "publish-burst": ["7"],
    "retry-after": ["7s"],
    "anonymous-publish": ["a/*", "b"], "anonymous-subscribe": ["**"], "token-cookie": ["t"], "token-warning": ["7s"],
    "token-checks": ["7"], "max-revocations": ["7"], "revocation-keep": ["7d"], "revocation-file": ["/revoked"],
]

extension BoundTests {
    /// The bounds of all settings: those that bound crowds behind the others.
    static let allBounds =
        bounds + [
            ("max-connections-per-address", "0", nil, "10000000", "10000001"),
            ("handshake-rate", "0", nil, "1000000", "1000001"),
            ("publish-rate", "0", nil, "10000000", "10000001"),
            ("publish-burst", "1", "0", "10000000", "10000001"),
            ("retry-after", "1s", "999ms", "1h", "3600001ms"),
            ("token-warning", "0s", nil, "1d", "86400001ms"),
            ("token-checks", "1", "0", "1000000", "1000001"),
            ("max-revocations", "0", nil, "10000000", "10000001"),
            ("revocation-keep", "1m", "59999ms", "365d", "31536000001ms"),
        ]
}

/// Reads settings from flags alone.
private func read(_ flags: [String: [String]]) async throws(SettingsRefused) -> LoadedSettings {
    try await SettingsReader(flags: flags, validateFilter: { _ in nil }).read()
}

private func mistakes(_ flags: [String: [String]]) async -> [String] {
    do {
        _ = try await read(flags)
        return []
    } catch {
        return error.mistakes.map(\.description)
    }
}

struct ProxySettingTests {
    @Test(arguments: [("forwarded", ForwardedHeader.forwarded), ("x-forwarded-for", .xForwardedFor)])
    func `proxies are trusted with a header`(text: String, header: ForwardedHeader) async throws {
        let flags = ["trusted-proxies": ["10.0.0.0/8", "2001:db8::/32", "192.0.2.1"], "forwarded-header": [text]]
        let settings = try await read(flags).settings
        #expect(settings.trustedProxies.map(\.description) == ["10.0.0.0/8", "2001:db8::/32", "192.0.2.1"])
        #expect(settings.forwardedHeader == header)
        let plan = ServerPlan(settings)
        #expect(plan.hub.trustedProxies == settings.trustedProxies && plan.hub.forwardedHeader == header)
    }

    @Test func `half of a trust is a mistake`() async {
        #expect(
            await mistakes(["trusted-proxies": ["10.0.0.0/8"]]) == [
                "trusted-proxies (--trusted-proxy): needs forwarded-header: the header in which the proxies name their "
                    + "clients"
            ])
        #expect(
            await mistakes(["forwarded-header": ["forwarded"]]) == [
                "forwarded-header (--forwarded-header): needs trusted-proxies: anybody could write the header"
            ])
        #expect(await mistakes(["forwarded-header": ["none"]]).isEmpty)
        #expect(await mistakes(["trusted-proxies": ["nonsense"], "forwarded-header": ["forwarded"]]).count == 1)
    }

    @Test(arguments: ["", "10.0.0.1/8", "10.0.0.0/33", "proxy.example", "10.0.0.0/8 ", "[::1]"])
    func `a range that is none is refused`(text: String) async {
        let found = await mistakes(["trusted-proxies": ["::1", text], "forwarded-header": ["forwarded"]])
        #expect(
            found.count == 1 && found[0].hasPrefix("trusted-proxies (--trusted-proxy): \"\(text)\" is not accepted"))
    }

    @Test func `limits reach the hub`() async throws {
        let flags = ["max-connections-per-address": ["3"], "handshake-rate": ["5"], "retry-after": ["7s"]]
        let hub = ServerPlan(try await read(flags).settings).hub
        #expect(hub.connectionsPerAddress == 3 && hub.readersPerSecond == 5 && hub.retryAfterSeconds == 7)
        let standard = ServerPlan(ServerSettings()).hub
        #expect(standard.connectionsPerAddress == 0 && standard.readersPerSecond == 0)
        #expect(standard.retryAfterSeconds == 5 && standard.trustedProxies.isEmpty)
    }

    @Test func `a burst without a rate, and a bound behind another, are told`() async throws {
        let warnings = try await read(
            ["publish-burst": ["3"], "max-connections-per-address": ["9"], "max-connections": ["8"]]
        ).warnings
        #expect(warnings.count == 2)
        #expect(warnings.contains { $0.hasPrefix("publish-burst") && $0.contains("without publish-rate") })
        #expect(warnings.contains { $0.hasPrefix("max-connections-per-address") })
    }
}
