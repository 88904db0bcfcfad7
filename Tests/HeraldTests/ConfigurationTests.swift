import Foundation
import Logging
import Testing

@testable import Herald
@testable import herald

/// Stands in for the grammar of filters.
@Sendable private func checkFilter(_ filter: String) -> String? {
    filter.contains("//") ? "a segment is empty" : nil
}

/// Reads settings with the file's text in a file of its own; `FILE` stands for its path in what is thrown.
func read(
    flags: [String: [String]] = [:], environment: [String: String] = [:], yaml: String? = nil
) async throws(SettingsRefused) -> LoadedSettings {
    let path = NSTemporaryDirectory() + "herald-\(UUID().uuidString).yaml"
    if let yaml {
        _ = FileManager.default.createFile(atPath: path, contents: Data(yaml.utf8))
    }
    defer { try? FileManager.default.removeItem(atPath: path) }
    return try await SettingsReader(
        flags: flags, environment: environment, file: yaml == nil ? nil : path, validateFilter: checkFilter
    ).read()
}

/// The mistakes in a configuration, one line each, in which `FILE` stands for the file's path.
func mistakes(
    flags: [String: [String]] = [:], environment: [String: String] = [:], yaml: String? = nil
) async -> [String] {
    do {
        _ = try await read(flags: flags, environment: environment, yaml: yaml)
        return []
    } catch {
        return error.mistakes.map { mistake in
            mistake.description.replacing(#/\([^ ]*\.yaml/#, with: "(FILE")
        }
    }
}

/// A value of each setting that is accepted and is not the default.
private let samples: [String: [String]] = [
    "listen": ["[::1]:0"], "loops": ["7"], "io-uring": ["false"], "allow-anonymous": ["true"], "echo-path": ["/echo"],
    "compression": ["false"], "compression-min": ["7KiB"],
    "retain-events": ["7"], "retain-bytes": ["7MiB"], "retain-age": ["7d"], "memory-limit": ["7GiB"],
    "topic-idle": ["7s"], "rules": ["a/** retain-events=7", "b slow-reader=latest retain-age=7s retain-bytes=7KiB"],
    "max-topics": ["7"], "max-filters": ["700"], "max-filters-per-connection": ["7"], "max-connections": ["7"],
    "max-body": ["7"], "max-head": ["7KiB"], "max-message": ["7KiB"], "max-batch": ["7"], "max-wait": ["7s"],
    "request-timeout": ["7s"], "idle-timeout": ["700ms"], "write-timeout": ["7s"], "heartbeat": ["7s"],
    "sse-retry": ["7s"], "drain-timeout": ["7s"], "idempotency-window": ["7s"], "idempotency-keys": ["7"],
    "log-format": ["json"], "log-level": ["trace"],
    "tls-listen": ["[::1]:0"], "tls-certificate": ["/a.pem", "/b.pem"], "tls-key": ["/a.key", "/b.key"],
    "tls-client-ca": ["/ca.pem"], "tls-min-version": ["1.3"], "tls-handshakes": ["7"],
    "max-http2-streams": ["7"], "http2-frame-allowance": ["70"],
    "token-secret-file": ["/secret"], "token-key-file": ["/a.pem", "/b.json"], "token-jwks": ["https://a.test/keys"],
    "token-jwks-refresh": ["70s"], "token-leeway": ["7s"], "token-issuer": ["us"], "token-audience": ["them"],
    "token-cache": ["7"], "api-key-file": ["/keys.yaml"],
    "allowed-origins": ["https://app.example", "null"], "allow-credentials": ["true"], "hsts": ["7d"],
].merging(crowdSamples) { first, _ in first }

private let everyKey = SettingDescriptor.all.map(\.key)

struct PrecedenceTests {
    @Test func `without any source everything is the default`() async throws {
        let loaded = try await read()
        #expect(loaded.settings == ServerSettings())
        #expect(loaded.origins.isEmpty)
        #expect(loaded.warnings.isEmpty)
        #expect(loaded.settings.listen.description == "127.0.0.1:8080")
        #expect(!loaded.settings.isAuthenticationConfigured)
    }

    // An address for TLS alone is a mistake: TLSSettingTests; half of trusting a proxy, too: ProxySettingTests.
    @Test(arguments: everyKey.filter { !["tls-listen", "trusted-proxies", "forwarded-header"].contains($0) })
    func `each setting is read from each source`(key: String) async throws {
        let setting = try #require(SettingDescriptor.named(key))
        let texts = try #require(samples[key])
        let items = texts.map { "\"\($0)\"" }.joined(separator: ", ")
        let yaml = "\(key): " + (setting.shape.isPlural ? "[\(items)]" : items)
        let sources: [(LoadedSettings, String)] = [
            (try await read(flags: [key: texts]), "--\(setting.flag)"),
            (
                try await read(environment: [setting.environmentName: texts.joined(separator: ",")]),
                "environment \(setting.environmentName)"
            ),
            (try await read(yaml: yaml), ".yaml:1"),
        ]
        for (loaded, origin) in sources {
            #expect(setting.write(loaded.settings) == texts.map(canonical))
            #expect(setting.write(loaded.settings) != setting.write(ServerSettings()))
            #expect(loaded.origin(of: key).description.hasSuffix(origin))
            #expect(loaded.origins.count == 1)
        }
    }

    /// The sample rule whose keys are out of order is written in order.
    private func canonical(_ text: String) -> String {
        text == samples["rules"]?.last ? "b retain-bytes=7KiB retain-age=7s slow-reader=latest" : text
    }

    @Test func `a flag wins over the environment and the environment over the file`() async throws {
        let environment = ["HERALD_MAX_TOPICS": "3", "HERALD_MAX_BATCH": "3"]
        let yaml = "max-topics: 4\nmax-batch: 4\nmax-connections: 4"
        let loaded = try await read(flags: ["max-topics": ["2"]], environment: environment, yaml: yaml)
        #expect(loaded.settings.maxTopics == 2)
        #expect(loaded.settings.maxBatch == 3)
        #expect(loaded.settings.maxConnections == 4)
        #expect(loaded.settings.maxFilters == 100_000)
        #expect(loaded.origin(of: "max-topics") == .flag(name: "max-topics"))
        #expect(loaded.origin(of: "max-batch") == .environment(name: "HERALD_MAX_BATCH"))
        #expect(loaded.origin(of: "max-connections").description.hasSuffix(".yaml:3"))
        #expect(loaded.origin(of: "max-filters") == .standard)
    }

    @Test func `rules of a stronger source replace those of a weaker one`() async throws {
        let yaml = "rules: [a, b]"
        let strong = try await read(flags: ["rules": ["c"]], environment: ["HERALD_RULES": "d,e"], yaml: yaml)
        #expect(strong.settings.rules.map(\.filter) == ["c"])
        let weak = try await read(environment: ["HERALD_RULES": "d, e retain-events=1"], yaml: yaml)
        #expect(weak.settings.rules == [RetentionRule(filter: "d"), RetentionRule(filter: "e", retainEvents: 1)])
        let none = try await read(environment: ["HERALD_RULES": "d"], yaml: "rules: []")
        #expect(none.settings.rules.map(\.filter) == ["d"])
    }

    @Test func `an empty list in the file is a list`() async throws {
        #expect(try await read(yaml: "rules: []").origins.keys.sorted() == ["rules"])
    }

    @Test func `an empty environment variable counts as not set`() async throws {
        let loaded = try await read(environment: ["HERALD_LOOPS": "", "HERALD_CONFIG": "", "HERALD_ODD": ""])
        #expect(loaded.origins.isEmpty)
        #expect(loaded.warnings.isEmpty)
    }

    @Test func `the environment can name the file`() async throws {
        let path = NSTemporaryDirectory() + "herald-\(UUID().uuidString).yaml"
        try Data("max-batch: 5".utf8).write(to: URL(filePath: path))
        defer { try? FileManager.default.removeItem(atPath: path) }
        let environment = [SettingsReader.fileVariable: path]
        let loaded = try await SettingsReader(environment: environment, validateFilter: checkFilter).read()
        #expect(loaded.settings.maxBatch == 5)
        #expect(loaded.warnings.isEmpty)
    }

    @Test func `a truth value can be taken back by a flag`() async throws {
        let loaded = try await read(flags: ["allow-anonymous": ["false"]], yaml: "allow-anonymous: yes")
        #expect(!loaded.settings.allowAnonymous)
    }

    @Test func `an empty file and one of comments set nothing`() async throws {
        for yaml in ["", "# nothing\n", "---\n", "null", "{}"] {
            #expect(try await read(yaml: yaml).origins.isEmpty)
        }
    }
}

struct BoundTests {
    /// Each bound: the values at it, and one past it.
    static let bounds: [(key: String, lower: String, below: String?, upper: String, above: String)] = [
        ("loops", "1", "0", "1024", "1025"),
        ("compression-min", "0", nil, "1GiB", "1073741825"),
        ("retain-events", "1", "0", "100000000", "100000001"),
        ("retain-bytes", "1KiB", "1023", "1TiB", "1099511627777"),
        ("retain-age", "1s", "999ms", "365d", "31536000001ms"),
        ("memory-limit", "1MiB", "1048575", "16TiB", "17592186044417"),
        ("topic-idle", "100ms", "99ms", "365d", "31536000001ms"),
        ("max-topics", "1", "0", "100000000", "100000001"),
        ("max-filters", "1", "0", "100000000", "100000001"),
        ("max-filters-per-connection", "1", "0", "10000", "10001"),
        ("max-connections", "1", "0", "10000000", "10000001"),
        ("max-body", "1", "0", "1GiB", "1073741825"),
        ("max-head", "512", "511", "1MiB", "1048577"),
        ("max-message", "125", "124", "1GiB", "1073741825"),
        ("max-batch", "1", "0", "100000", "100001"),
        ("max-wait", "1s", "999ms", "1h", "3600001ms"),
        ("request-timeout", "100ms", "99ms", "1h", "3600001ms"),
        ("idle-timeout", "100ms", "99ms", "1d", "86400001ms"),
        ("write-timeout", "100ms", "99ms", "1d", "86400001ms"),
        ("heartbeat", "100ms", "99ms", "1h", "3600001ms"),
        ("sse-retry", "0s", nil, "1h", "3600001ms"),
        ("drain-timeout", "0s", nil, "1h", "3600001ms"),
        ("idempotency-window", "1s", "999ms", "1d", "86400001ms"),
        ("idempotency-keys", "0", nil, "100000", "100001"),
        ("tls-handshakes", "1", "0", "1000", "1001"),
        ("max-http2-streams", "1", "0", "10000", "10001"),
        ("http2-frame-allowance", "10", "9", "1000000", "1000001"),
        ("token-jwks-refresh", "10s", "9999ms", "1d", "86400001ms"),
        ("token-leeway", "0s", nil, "5m", "300001ms"),
        ("token-cache", "0", nil, "1000000", "1000001"),
        ("hsts", "0s", nil, "730d", "63072000001ms"),
    ]

    @Test(arguments: allBounds.indices)
    func `a value at a bound is accepted and one past it is not`(index: Int) async throws {
        let bound = Self.allBounds[index]
        let setting = try #require(SettingDescriptor.named(bound.key))
        for text in [bound.lower, bound.upper] {
            #expect(setting.write(try await read(flags: [bound.key: [text]]).settings) == [text])
        }
        for text in [bound.below, bound.above].compactMap(\.self) {
            let expected = "\(bound.key) (--\(bound.key)): \"\(text)\" is not accepted; expected \(setting.accepted)"
            #expect(await mistakes(flags: [bound.key: [text]]) == [expected])
            #expect(setting.accepted.contains(bound.lower) && setting.accepted.contains(bound.upper))
        }
    }

    @Test func `every number, size and duration has its bounds tested`() {
        let bounded = SettingDescriptor.all.filter { ["number", "size", "duration"].contains($0.placeholder) }
        #expect(Set(bounded.map(\.key)) == Set(Self.allBounds.map(\.key)))
    }

    @Test(arguments: [
        ("retain-events", "0"), ("retain-events", "100000001"), ("retain-bytes", "1023"),
        ("retain-bytes", "1099511627777"), ("retain-age", "999ms"), ("retain-age", "31536000001ms"),
        ("slow-reader", "drop"),
    ])
    func `a rule's values have the bounds of the settings they replace`(key: String, value: String) async {
        let found = await mistakes(flags: ["rules": ["a \(key)=\(value)"]])
        #expect(found.count == 1)
        #expect(
            found.first?.hasPrefix(
                "rules (--rule): rule \"a \(key)=\(value)\": \(key): \"\(value)\" is not accepted; expected ") == true)
    }

    @Test(arguments: ["/echo", "/a/b-c_d.e~f", "/v10"])
    func `an echo path is any path of its own`(path: String) async throws {
        #expect(try await read(flags: ["echo-path": [path]]).settings.echoPath == path)
    }

    @Test(arguments: [
        "", "echo", "/", "/v1", "/v1/echo", "/metrics", "/healthz", "/readyz", "/console.js", "/openapi.txt", "/a b",
        "/a?b", "/a#b", "/ä", "/%41",
    ])
    func `an echo path can't be one of the server's own`(path: String) async {
        #expect(await mistakes(flags: ["echo-path": [path]]).count == 1)
    }

    @Test func `the number of loops is that of the processors`() {
        #expect((1...1024).contains(ServerSettings.processorCount))
    }
}

struct MistakeTests {
    @Test func `every mistake of every source is reported`() async {
        let yaml = """
            retain-evnts: 3
            retain-events: many
            max-wait:
            loops: [1]
            rules:
              - {filter: "a//b", retain-events: 0}
              - {filter: "a b"}
              - [x]
            nested: {a: 1}
            """
        let found = await mistakes(
            flags: ["loops": ["0"]], environment: ["HERALD_HEARTBEAT": "soon", "HERALD_RULES": "x y"], yaml: yaml)
        let starts = [
            #"retain-evnts (FILE:1): is no setting (did you mean retain-events?); "#,
            #"nested (FILE:9): is no setting; "#,
            #"loops (FILE:4): is a list; expected a whole number from 1 to 1024"#,
            #"loops (--loops): "0" is not accepted; expected a whole number from 1 to 1024"#,
            #"retain-events (FILE:2): "many" is not accepted; expected a whole number from 1 to 100000000"#,
            #"rules (FILE:5): item 2 (line 7): "filter: a b" is empty or has spaces; expected a filter followed by"#,
            #"rules (FILE:5): item 3 (line 8) is neither a text nor a mapping; expected a filter followed by"#,
            #"rules (FILE:5): rule "a//b retain-events=0": "a//b" is not a filter: a segment is empty"#,
            #"rules (FILE:5): rule "a//b retain-events=0": retain-events: "0" is not accepted; expected a whole"#,
            #"rules (environment HERALD_RULES): rule "x y": "y" is no KEY=VALUE pair; expected keys: retain-events"#,
            #"max-wait (FILE:3): has no value; expected a duration from 1s to 1h"#,
            #"heartbeat (environment HERALD_HEARTBEAT): "soon" is not accepted; expected a duration from 100ms"#,
        ]
        #expect(found.count == starts.count)
        for (line, start) in zip(found, starts) {
            #expect(line.hasPrefix(start))
        }
    }

    // Any text may be a file's path or a name.
    @Test(arguments: everyKey.filter { !["file", "text"].contains(SettingDescriptor.named($0)?.placeholder) })
    func `a value of the wrong kind is named with key, source and what is accepted`(key: String) async throws {
        let setting = try #require(SettingDescriptor.named(key))
        let nonsense = "no! such= value//"
        let variable = setting.environmentName
        for (found, origin) in [
            (await mistakes(flags: [key: [nonsense]]), "--\(setting.flag)"),
            (await mistakes(environment: [variable: nonsense]), "environment \(variable)"),
            (await mistakes(yaml: "\(key): {a: b}"), "FILE:1"),
        ] {
            #expect(!found.isEmpty)
            #expect(found.allSatisfy { $0.hasPrefix("\(key) (\(origin)): ") })
        }
        let mapping = await mistakes(yaml: "\(key): {a: b}")
        #expect(mapping == ["\(key) (FILE:1): is a mapping; expected \(setting.accepted)"])
    }

    @Test(arguments: [
        ("a retain-events", #"rule "a retain-events": "retain-events" is no KEY=VALUE pair; expected keys: "#),
        ("a retain-evens=1", #""retain-evens" is no key of a rule (did you mean retain-events?); expected one of "#),
        ("a retain-age=1s retain-age=2s", "retain-age is given twice"),
        ("a slow-reader=", #"slow-reader: "" is not accepted; expected one of gap, disconnect, latest"#),
        ("", #"rule "": is empty; expected a filter followed by"#),
        ("a//b", #""a//b" is not a filter: a segment is empty"#),
    ])
    func `what is wrong with a rule is named`(rule: String, expected: String) async {
        let found = await mistakes(flags: ["rules": [rule]])
        #expect(found.count == 1)
        #expect(found.first?.contains(expected) == true)
    }

    @Test(arguments: [
        ("- {retain-events: 1}", "item 1 (line 2) has no filter"),
        ("- {filter: a, retain-events: }", "item 1 (line 2): every key needs one value"),
        ("- {filter: [a]}", "item 1 (line 2): every key needs one value"),
        (#"- {filter: ""}"#, #"item 1 (line 2): "filter: " is empty or has spaces"#),
        (#"- {filter: a, "retain-events=2 x": 1}"#, "is empty or has spaces"),
        ("- ", "item 1 (line 2) is neither a text nor a mapping"),
        ("- {filter: a, filter: b}", "has a key twice"),
    ])
    func `what is wrong with a rule's mapping is named`(item: String, expected: String) async {
        let found = await mistakes(yaml: "rules:\n  \(item)")
        #expect(found.count == 1)
        #expect(found.first?.contains(expected) == true)
    }

    @Test func `a single text is no list`() async {
        let found = await mistakes(yaml: "rules: a")
        #expect(found.first?.hasPrefix("rules (FILE:1): is no list; expected a filter") == true)
    }

    @Test(arguments: [
        ("a: [", "config (FILE:2): is not YAML: did not find expected node content"),
        ("loops: 1\nloops: 2", #"config (FILE:1): has a key twice: "loops""#),
        ("- a", "config (FILE:1): is no mapping of keys to values"),
        ("text", "config (FILE:1): is no mapping of keys to values"),
        ("loops: 1\n---\nloops: 2", "config (FILE:2): is not YAML: but found another document"),
        ("loops: 1\nlisten: \u{1}", "config (FILE:2): is not YAML: control characters are not allowed"),
        ("loops: &a 1\nmax-batch: *b", "config (FILE:2): is not YAML: found undefined alias"),
    ])
    func `a file that is no YAML mapping is named with the line`(yaml: String, expected: String) async {
        #expect(await mistakes(yaml: yaml) == [expected])
    }

    @Test func `a file that can't be read is named`() async throws {
        for (path, reason) in [("/nowhere/herald.yaml", "No such file or directory"), ("/", "it is a directory")] {
            let reader = SettingsReader(flags: ["loops": ["0"]], file: path, validateFilter: checkFilter)
            let refused = await #expect(throws: SettingsRefused.self) { try await reader.read() }
            #expect(refused?.mistakes.first?.description == "config (\(path)): can't be read: \(reason)")
            #expect(refused?.mistakes.count == 2)
        }
    }

    @Test func `a file that is not UTF-8 is named`() async throws {
        let path = NSTemporaryDirectory() + "herald-\(UUID().uuidString).yaml"
        try Data([0x61, 0xFF]).write(to: URL(filePath: path))
        defer { try? FileManager.default.removeItem(atPath: path) }
        let reader = SettingsReader(file: path, validateFilter: checkFilter)
        let refused = await #expect(throws: SettingsRefused.self) { try await reader.read() }
        #expect(refused?.description == "config (\(path)): is not UTF-8 text")
    }

    @Test func `values in messages are escaped and shortened`() async {
        let found = await mistakes(flags: ["loops": ["1\n\u{1B}[2J" + String(repeating: "x", count: 500)]])
        #expect(found.first?.hasPrefix(#"loops (--loops): "1\n\u001b[2Jxxx"#) == true)
        #expect(found.first?.contains("x\"... is not accepted") == true)
        #expect((found.first?.count ?? 0) < 250)
    }

    @Test func `whether only the file is wrong decides the exit code`() async {
        func exitCode(
            flags: [String: [String]] = [:], environment: [String: String] = [:], yaml: String
        ) async -> Int32? {
            let refused = await #expect(throws: SettingsRefused.self) {
                try await read(flags: flags, environment: environment, yaml: yaml)
            }
            return refused.map { ServeCommand.exitCode(for: $0) }
        }
        #expect(await exitCode(yaml: "loops: 0") == 78)
        #expect(await exitCode(flags: ["loops": ["0"]], yaml: "") == 64)
        #expect(await exitCode(flags: ["loops": ["0"]], yaml: "loops: 0") == 64)
        #expect(await exitCode(environment: ["HERALD_LOOPS": "0"], yaml: "") == 64)
    }
}

struct CrossCheckTests {
    @Test(arguments: ["0.0.0.0:80", "[::]:80", "192.0.2.1:80"])
    func `an open address needs leave for anybody`(address: String) async throws {
        let found = await mistakes(flags: ["listen": [address]])
        #expect(
            found == [
                "listen (--listen): \(address) can be reached by other machines, and no authentication is configured; "
                    + "expected a loopback address, tokens (token-secret-file, token-key-file, token-jwks), "
                    + "api-key-file, or allow-anonymous"
            ])
        let allowed = try await read(flags: ["listen": [address], "allow-anonymous": ["true"]])
        #expect(allowed.settings.listen.description == address)
    }

    @Test func `what follows from a refused value is not reported`() async {
        #expect(await mistakes(flags: ["listen": ["0.0.0.0:80"], "allow-anonymous": ["maybe"]]).count == 1)
        #expect(await mistakes(flags: ["listen": ["0.0.0.0:80"]], yaml: "[").count == 1)
    }

    @Test func `a rule that never counts is a mistake`() async throws {
        #expect(
            await mistakes(flags: ["rules": ["a", "b", "a retain-events=1"]]) == [
                #"rules (--rule): rule 3: "a" never counts, as rule 1, "a", matches first"#
            ])
        #expect(await mistakes(yaml: #"rules: [a, "**", b, c]"#).count == 2)
        #expect(try await read(yaml: #"rules: [a, b, "**"]"#).settings.rules.count == 3)
    }

    @Test func `a bound that can't be reached is warned of where somebody set it`() async throws {
        #expect(try await read(flags: ["memory-limit": ["1MiB"], "max-filters": ["1"]]).warnings.isEmpty)
        let loaded = try await read(
            flags: [
                "memory-limit": ["1MiB"], "retain-bytes": ["2MiB"], "max-body": ["3MiB"], "max-filters": ["5"],
                "max-filters-per-connection": ["6"], "rules": ["a", "b retain-bytes=4MiB"],
            ])
        #expect(
            loaded.warnings == [
                "retain-bytes (--retain-bytes): can't be reached, as memory-limit is 1MiB",
                "max-body (--max-body): an event of that size can't be kept, as memory-limit is 1MiB",
                "max-filters-per-connection (--max-filters-per-connection): can't be reached, as max-filters is 5",
                "rules (--rule): rule 2: retain-bytes can't be reached, as memory-limit is 1MiB",
            ])
    }

    @Test func `environment variables that look like settings but are none are warned of`() async throws {
        let environment = [
            "HERALD_RETAIN_EVENT": "1", "HERALD_ZZZ": "1", "HERALD_SERVER": "x", "HERALDRY": "x", "LOOPS": "x",
            "HERALD_PORT": "tcp://10.0.0.1:80", "HERALD_PORT_80_TCP": "x", "HERALD_SERVICE_HOST": "x",
        ]
        #expect(
            try await read(environment: environment).warnings == [
                "environment HERALD_RETAIN_EVENT is no setting (did you mean HERALD_RETAIN_EVENTS?); it is ignored",
                "environment HERALD_ZZZ is no setting; it is ignored",
            ])
    }
}

struct SettingsPrinterTests {
    @Test func `each line names where its value comes from`() async throws {
        let loaded = try await read(
            flags: ["retain-events": ["7"]], environment: ["HERALD_RETAIN_AGE": "2h"], yaml: "rules: [a retain-age=1s]")
        let lines = SettingsPrinter.yaml(loaded).split(separator: "\n").map(String.init)
        func hasLine(_ pattern: Regex<Substring>) -> Bool { lines.contains { $0.wholeMatch(of: pattern) != nil } }
        #expect(hasLine(#/retain-events: 7 +# --retain-events/#))
        #expect(hasLine(#/retain-age: 2h +# environment HERALD_RETAIN_AGE/#))
        #expect(hasLine(#/rules: +# .*\.yaml:1/#))
        #expect(hasLine(#/  - "a retain-age=1s" +# .*\.yaml:1/#))
        #expect(hasLine(#/retain-bytes: 64MiB +# default/#))
        #expect(hasLine(#/# echo-path: not set +# default/#))
        #expect(hasLine(#/listen: "127.0.0.1:8080" +# default/#))
        #expect(lines.count == SettingDescriptor.all.count + 1)
    }

    @Test func `what is printed reads back as the same settings`() async throws {
        let plain = try await read()
        #expect(try await read(yaml: SettingsPrinter.yaml(plain)).settings == plain.settings)
        let changed = try await read(flags: samples)
        #expect(changed.origins.count == SettingDescriptor.all.count)
        let printed = SettingsPrinter.yaml(changed)
        let again = try await read(yaml: printed)
        #expect(again.settings == changed.settings)
        #expect(again.origins.count == SettingDescriptor.all.count)
    }

    @Test(arguments: [
        "a:b/**", "# c", "null", "*", "-", "\"q\"", "a\\b", "~x", "é", "[a]", "{a}", "%a", "@a", "a,b", "!a", "&a",
    ])
    func `filters read back whatever they look like`(filter: String) async throws {
        var loaded = try await read()
        loaded.settings.rules = [RetentionRule(filter: filter.replacing(" ", with: "")), RetentionRule(filter: "z")]
        #expect(try await read(yaml: SettingsPrinter.yaml(loaded)).settings.rules == loaded.settings.rules)
    }

    @Test func `an origin can't break out of its comment`() async throws {
        var loaded = try await read()
        loaded.origins["loops"] = .file(path: "a\nloops: 9", line: 1)
        #expect(try await read(yaml: SettingsPrinter.yaml(loaded)).settings == loaded.settings)
    }
}

struct SettingTableTests {
    /// The command's help, each flag on one line.
    private static let help = ServeCommand.helpMessage(columns: 10_000)

    @Test func `names are unique and every setting has a sample here`() {
        #expect(Set(everyKey).count == everyKey.count)
        #expect(Set(SettingDescriptor.all.map(\.flag)).count == everyKey.count)
        #expect(Set(samples.keys) == Set(everyKey))
        #expect(SettingDescriptor.named("rules")?.environmentName == "HERALD_RULES")
        #expect(SettingDescriptor.named("max-body")?.environmentName == "HERALD_MAX_BODY")
        #expect(SettingDescriptor.named("rule") == nil)
    }

    @Test func `the command has a flag for each setting and no other`() {
        let flags = Self.help.matches(of: #/(?m)^  (?:-h, )?--([a-z0-9-]+)/#).map { String($0.1) }
        let settings = SettingDescriptor.all.map(\.flag)
        #expect(flags.sorted() == (settings + ["config", "print-config", "help"]).sorted())
    }

    @Test(arguments: everyKey)
    func `a flag's help tells its default and its variable, and its value arrives`(key: String) throws {
        let setting = try #require(SettingDescriptor.named(key))
        #expect(Self.help.contains("\(setting.summary). (default: \(setting.defaultText); environment: "))
        let texts = try #require(samples[key])
        let truth = texts == ["false"] ? "--no-\(setting.flag)" : "--\(setting.flag)"
        let arguments = setting.shape == .truth ? [truth] : texts.flatMap { ["--\(setting.flag)", $0] }
        #expect(try ServeCommand.parse(arguments).given == [key: texts])
    }

    @Test func `a truth value has a flag to take it back`() throws {
        #expect(try ServeCommand.parse(["--no-allow-anonymous"]).given == ["allow-anonymous": ["false"]])
    }

    @Test func `without flags nothing is given`() throws {
        #expect(try ServeCommand.parse([]).given.isEmpty)
    }
}

struct ExampleConfigurationTests {
    private func example() throws -> String {
        let root = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "../..")
        return try String(contentsOf: root.appending(path: "deploy/herald.yaml"), encoding: .utf8)
    }

    @Test func `the example configuration is accepted`() async throws {
        let loaded = try await read(yaml: example())
        #expect(loaded.warnings.isEmpty)
        var expected = ServerSettings()
        expected.rules = [
            RetentionRule(filter: "orders/**", retainEvents: 10_000, retainAge: .seconds(86_400)),
            RetentionRule(filter: "prices/*", retainEvents: 10, slowReader: .latest),
        ]
        #expect(loaded.settings == expected)
    }

    @Test func `the example configuration shows every setting with its default`() async throws {
        let active = try example().replacing(#/(?m)^# ([a-z0-9-]+: )/#) { "\($0.1)" }
        let loaded = try await read(yaml: active.replacing(#/(?m)^Durations: .*$/#, with: ""))
        #expect(Set(loaded.origins.keys) == Set(everyKey))
        var settings = loaded.settings
        settings.loops = ServerSettings().loops
        settings.echoPath = nil
        settings.tlsListen = nil
        (settings.tlsCertificates, settings.tlsKeys, settings.tlsClientCA) = ([], [], nil)
        (settings.tokenSecretFile, settings.tokenKeyFiles, settings.tokenJWKS) = (nil, [], nil)
        (settings.tokenIssuer, settings.tokenAudience, settings.apiKeyFile) = (nil, nil, nil)
        settings.rules = []
        (settings.publishBurst, settings.revocationFile) = (nil, nil)
        #expect(settings == ServerSettings())
    }
}
