import ArgumentParser
import FoundationEssentials
import Herald
import Logging

/// `herald serve`: reads the configuration and runs the server.
struct ServeCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "serve",
        abstract: "Run the server.",
        discussion: """
            Every setting is a flag, an environment variable and a key of the YAML file, which is named as the flag \
            without its dashes ('rules' for --rule). A flag wins over the environment, the environment over the file, \
            and the file over the default.

            Durations are written as 250ms, 10s, 5m, 1h or 7d; sizes as 512, 64KiB, 1MiB or 1MB.
            """)

    @OptionGroup(title: "Listening")
    var listening: ListeningOptions

    @OptionGroup(title: "Browsers")
    var browsers: BrowserOptions

    @OptionGroup(title: "TLS")
    var tls: TLSOptions

    @OptionGroup(title: "Access")
    var access: AccessOptions

    @OptionGroup(title: "Compression")
    var compression: CompressionOptions

    @OptionGroup(title: "Retention")
    var retention: RetentionOptions

    @OptionGroup(title: "Limits")
    var limits: LimitOptions

    @OptionGroup(title: "Crowds")
    var crowds: CrowdOptions

    @OptionGroup(title: "Times")
    var times: TimeOptions

    @OptionGroup(title: "Publishing")
    var publishing: PublishingOptions

    @OptionGroup(title: "Logging")
    var logging: LoggingOptions

    @Option(
        help: ArgumentHelp(
            "YAML file to read settings from. (environment: \(SettingsReader.fileVariable))", valueName: "file"),
        completion: .file(extensions: ["yaml", "yml"]))
    var config: String?

    @Flag(help: "Print the settings as a configuration file, with the origin of each, and exit.")
    var printConfig = false

    /// The values given as flags, by the settings' keys.
    var given: [String: [String]] {
        let groups = [
            listening.given, browsers.given, tls.given, access.given, compression.given, retention.given, limits.given,
            crowds.given, times.given, publishing.given, logging.given,
        ]
        let lists = [
            "rules": retention.rules, "tls-certificate": tls.certificates, "tls-key": tls.keys,
            "allowed-origins": browsers.origins, "token-key-file": access.tokenKeyFiles,
            "trusted-proxies": crowds.trustedProxies, "anonymous-publish": access.anonymousPublish,
            "anonymous-subscribe": access.anonymousSubscribe,
        ]
        var given = lists.filter { !$0.value.isEmpty }
        for (key, value) in groups.joined() {
            given[key] = value.map { [$0] }
        }
        return given
    }

    func run() async throws {
        let reader = SettingsReader(
            flags: given, environment: ProcessInfo.processInfo.environment, file: config,
            validateFilter: ServerRunner.filterProblem)
        let loaded: LoadedSettings
        do {
            loaded = try await reader.read()
        } catch {
            for line in error.warnings.map({ "warning: \($0)" }) + error.mistakes.map(\.description) {
                printError("herald: \(line)")
            }
            throw ExitCode(Self.exitCode(for: error))
        }
        if printConfig {
            for warning in loaded.warnings {
                printError("herald: warning: \(warning)")
            }
            print(SettingsPrinter.yaml(loaded), terminator: "")
            return
        }
        StructuredLog.bootstrap(format: loaded.settings.logFormat, level: loaded.settings.logLevel)
        let logger = Logger(label: "herald.configuration")
        for warning in loaded.warnings {
            logger.warning("\(warning)")
        }
        try await ServerRunner.run(loaded.settings)
    }

    /// What the command exits with (sysexits.h): `EX_CONFIG` if the file alone is wrong or can't be read, `EX_USAGE` if
    /// flags or the environment are.
    static func exitCode(for refused: SettingsRefused) -> Int32 {
        refused.isOnlyTheFile ? 78 : 64
    }

    private func printError(_ line: String) {
        FileDescriptorSink.standardError.write(line: Array("\(line)\n".utf8))
    }
}

extension ArgumentHelp {
    /// The help of a setting, out of the table of settings.
    fileprivate static func setting(_ key: String) -> ArgumentHelp {
        guard let setting = SettingDescriptor.named(key) else { return ArgumentHelp("") }
        return ArgumentHelp(
            "\(setting.summary). (default: \(setting.defaultText); environment: \(setting.environmentName))",
            valueName: setting.placeholder)
    }
}

// Option types are all optional texts: a default here would win over the environment and the file, and a type would
// end the command at the first mistake instead of reporting them all.

struct ListeningOptions: ParsableArguments {
    @Option(help: .setting("listen"))
    var listen: String?

    @Option(help: .setting("loops"))
    var loops: String?

    @Flag(inversion: .prefixedNo, help: .setting("io-uring"))
    var ioUring: Bool?

    @Flag(inversion: .prefixedNo, help: .setting("allow-anonymous"))
    var allowAnonymous: Bool?

    @Option(help: .setting("echo-path"))
    var echoPath: String?

    var given: [String: String?] {
        [
            "listen": listen, "loops": loops, "io-uring": ioUring.map { String($0) },
            "allow-anonymous": allowAnonymous.map { String($0) }, "echo-path": echoPath,
        ]
    }
}

struct BrowserOptions: ParsableArguments {
    @Option(name: .customLong("allowed-origins"), help: .setting("allowed-origins"))
    var origins: [String] = []

    @Flag(inversion: .prefixedNo, help: .setting("allow-credentials"))
    var allowCredentials: Bool?

    @Option(help: .setting("hsts"))
    var hsts: String?

    var given: [String: String?] {
        ["allow-credentials": allowCredentials.map { String($0) }, "hsts": hsts]
    }
}

struct TLSOptions: ParsableArguments {
    @Option(help: .setting("tls-listen"))
    var tlsListen: String?

    @Option(name: .customLong("tls-certificate"), help: .setting("tls-certificate"))
    var certificates: [String] = []

    @Option(name: .customLong("tls-key"), help: .setting("tls-key"))
    var keys: [String] = []

    @Option(help: .setting("tls-client-ca"))
    var tlsClientCa: String?

    @Option(help: .setting("tls-min-version"))
    var tlsMinVersion: String?

    @Option(help: .setting("tls-handshakes"))
    var tlsHandshakes: String?

    var given: [String: String?] {
        [
            "tls-listen": tlsListen, "tls-client-ca": tlsClientCa, "tls-min-version": tlsMinVersion,
            "tls-handshakes": tlsHandshakes,
        ]
    }
}

struct AccessOptions: ParsableArguments {
    @Option(help: .setting("token-secret-file"))
    var tokenSecretFile: String?

    @Option(name: .customLong("token-key-file"), help: .setting("token-key-file"))
    var tokenKeyFiles: [String] = []

    @Option(help: .setting("token-jwks"))
    var tokenJwks: String?

    @Option(help: .setting("token-jwks-refresh"))
    var tokenJwksRefresh: String?

    @Option(help: .setting("token-leeway"))
    var tokenLeeway: String?

    @Option(help: .setting("token-issuer"))
    var tokenIssuer: String?

    @Option(help: .setting("token-audience"))
    var tokenAudience: String?

    @Option(help: .setting("token-cache"))
    var tokenCache: String?

    @Option(help: .setting("api-key-file"))
    var apiKeyFile: String?

    @Option(name: .customLong("anonymous-publish"), help: .setting("anonymous-publish"))
    var anonymousPublish: [String] = []

    @Option(name: .customLong("anonymous-subscribe"), help: .setting("anonymous-subscribe"))
    var anonymousSubscribe: [String] = []

    @Option(help: .setting("token-cookie"))
    var tokenCookie: String?

    @Option(help: .setting("token-warning"))
    var tokenWarning: String?

    @Option(help: .setting("token-checks"))
    var tokenChecks: String?

    @Option(help: .setting("max-revocations"))
    var maxRevocations: String?

    @Option(help: .setting("revocation-keep"))
    var revocationKeep: String?

    @Option(help: .setting("revocation-file"))
    var revocationFile: String?

    var given: [String: String?] {
        [
            "token-secret-file": tokenSecretFile, "token-jwks": tokenJwks, "token-jwks-refresh": tokenJwksRefresh,
            "token-leeway": tokenLeeway, "token-issuer": tokenIssuer, "token-audience": tokenAudience,
            "token-cache": tokenCache, "api-key-file": apiKeyFile, "token-cookie": tokenCookie,
            "token-warning": tokenWarning, "token-checks": tokenChecks, "max-revocations": maxRevocations,
            "revocation-keep": revocationKeep, "revocation-file": revocationFile,
        ]
    }
}

struct CompressionOptions: ParsableArguments {
    @Flag(inversion: .prefixedNo, help: .setting("compression"))
    var compression: Bool?

    @Option(help: .setting("compression-min"))
    var compressionMin: String?

    var given: [String: String?] {
        ["compression": compression.map { String($0) }, "compression-min": compressionMin]
    }
}

struct RetentionOptions: ParsableArguments {
    @Option(help: .setting("retain-events"))
    var retainEvents: String?

    @Option(help: .setting("retain-bytes"))
    var retainBytes: String?

    @Option(help: .setting("retain-age"))
    var retainAge: String?

    @Option(help: .setting("memory-limit"))
    var memoryLimit: String?

    @Option(help: .setting("topic-idle"))
    var topicIdle: String?

    @Option(name: .customLong("rule"), help: .setting("rules"))
    var rules: [String] = []

    var given: [String: String?] {
        [
            "retain-events": retainEvents, "retain-bytes": retainBytes, "retain-age": retainAge,
            "memory-limit": memoryLimit, "topic-idle": topicIdle,
        ]
    }
}

struct LimitOptions: ParsableArguments {
    @Option(help: .setting("max-topics"))
    var maxTopics: String?

    @Option(help: .setting("max-filters"))
    var maxFilters: String?

    @Option(help: .setting("max-filters-per-connection"))
    var maxFiltersPerConnection: String?

    @Option(help: .setting("max-connections"))
    var maxConnections: String?

    @Option(help: .setting("max-body"))
    var maxBody: String?

    @Option(help: .setting("max-head"))
    var maxHead: String?

    @Option(help: .setting("max-message"))
    var maxMessage: String?

    @Option(name: .customLong("max-http2-streams"), help: .setting("max-http2-streams"))
    var maxHTTP2Streams: String?

    @Option(name: .customLong("http2-frame-allowance"), help: .setting("http2-frame-allowance"))
    var http2FrameAllowance: String?

    @Option(help: .setting("max-batch"))
    var maxBatch: String?

    var given: [String: String?] {
        [
            "max-topics": maxTopics, "max-filters": maxFilters, "max-filters-per-connection": maxFiltersPerConnection,
            "max-connections": maxConnections, "max-body": maxBody, "max-head": maxHead, "max-message": maxMessage,
            "max-batch": maxBatch, "max-http2-streams": maxHTTP2Streams,
            "http2-frame-allowance": http2FrameAllowance,
        ]
    }
}

struct CrowdOptions: ParsableArguments {
    @Option(name: .customLong("trusted-proxy"), help: .setting("trusted-proxies"))
    var trustedProxies: [String] = []

    @Option(help: .setting("forwarded-header"))
    var forwardedHeader: String?

    @Option(help: .setting("max-connections-per-address"))
    var maxConnectionsPerAddress: String?

    @Option(help: .setting("handshake-rate"))
    var handshakeRate: String?

    @Option(help: .setting("publish-rate"))
    var publishRate: String?

    @Option(help: .setting("publish-burst"))
    var publishBurst: String?

    @Option(help: .setting("retry-after"))
    var retryAfter: String?

    var given: [String: String?] {
        [
            "forwarded-header": forwardedHeader, "max-connections-per-address": maxConnectionsPerAddress,
            "handshake-rate": handshakeRate, "publish-rate": publishRate, "publish-burst": publishBurst,
            "retry-after": retryAfter,
        ]
    }
}

struct TimeOptions: ParsableArguments {
    @Option(help: .setting("max-wait"))
    var maxWait: String?

    @Option(help: .setting("request-timeout"))
    var requestTimeout: String?

    @Option(help: .setting("idle-timeout"))
    var idleTimeout: String?

    @Option(help: .setting("write-timeout"))
    var writeTimeout: String?

    @Option(help: .setting("heartbeat"))
    var heartbeat: String?

    @Option(help: .setting("sse-retry"))
    var sseRetry: String?

    @Option(help: .setting("drain-timeout"))
    var drainTimeout: String?

    var given: [String: String?] {
        [
            "max-wait": maxWait, "request-timeout": requestTimeout, "idle-timeout": idleTimeout,
            "write-timeout": writeTimeout, "heartbeat": heartbeat, "sse-retry": sseRetry,
            "drain-timeout": drainTimeout,
        ]
    }
}

struct PublishingOptions: ParsableArguments {
    @Option(help: .setting("idempotency-window"))
    var idempotencyWindow: String?

    @Option(help: .setting("idempotency-keys"))
    var idempotencyKeys: String?

    var given: [String: String?] {
        ["idempotency-window": idempotencyWindow, "idempotency-keys": idempotencyKeys]
    }
}

struct LoggingOptions: ParsableArguments {
    @Option(help: .setting("log-format"))
    var logFormat: String?

    @Option(help: .setting("log-level"))
    var logLevel: String?

    var given: [String: String?] {
        ["log-format": logFormat, "log-level": logLevel]
    }
}
