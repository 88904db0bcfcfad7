import HeraldCore
import Logging
import ServiceLifecycle
import Synchronization
import UnixSignals

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#else
import Darwin
#endif

/// A listening server, as a service that runs until its group shuts down.
struct Server: ServiceLifecycle.Service {
    private let settings: ServerSettings
    private let logger: Logger
    private let hub: Hub
    private let service: Service
    private let port: UInt16
    private let tls: TLSKeeper?
    private let access: Access
    private let tlsPort: UInt16?
    private let drained: AsyncStream<Void>

    /// Makes the log and the hub, and listens. Throws ``StartFailure``.
    init(_ settings: ServerSettings, _ logger: Logger) async throws(StartFailure) {
        self.settings = settings
        self.logger = logger
        let plan = ServerPlan(settings)
        for warning in plan.warnings { logger.warning("\(warning)") }
        let (drained, drainEnd) = AsyncStream.makeStream(of: Void.self)
        self.drained = drained
        do throws(CoreFault) {
            let log = try Log(plan.log)
            hub = try Hub(plan.hub, log: log)
        } catch {
            throw StartFailure(description: "cannot start: \(error)")
        }
        do throws(CoreFault) {
            port = try hub.listen(host: settings.listen.host, port: settings.listen.port)
        } catch {
            throw StartFailure(description: "cannot listen on \(settings.listen): \(error)")
        }
        (tls, tlsPort) = try Self.listenSecurely(hub, settings, logger)
        access = try await Access(settings, logger)
        service = Service(
            hub: hub, engine: MemoryEngine(hub: hub), access: access, settings: settings, loopCount: plan.hub.loopCount,
            certificateExpiry: { [tls] in tls?.expiry }, onDrained: { drainEnd.finish() })
    }

    /// Reads the certificates and listens for TLS, if that is wanted.
    private static func listenSecurely(
        _ hub: Hub, _ settings: ServerSettings, _ logger: Logger
    ) throws(StartFailure) -> (TLSKeeper?, UInt16?) {
        guard let address = settings.tlsListen else { return (nil, nil) }
        do throws(CoreFault) {
            let keeper = try TLSKeeper(settings, hub, logger)
            return (keeper, try hub.listenSecurely(host: address.host, port: address.port))
        } catch {
            throw StartFailure(description: "cannot listen for TLS on \(address): \(error)")
        }
    }

    /// Serves until the group shuts down, then drains.
    func run() async throws {
        do throws(CoreFault) {
            try hub.start(service)
        } catch {
            throw StartFailure(description: "cannot start: \(error)")
        }
        await firstProof()
        announce()
        await withTaskGroup(of: Void.self) { group in
            if let tls {
                group.addTask { await tls.watch() }
            }
            group.addTask { await access.run() }
            try? await gracefulShutdown()
            group.cancelAll()
        }
        await drain()
        // Requests that wait for a check come back to their loops before these end.
        while !access.isIdle { try? await Task.sleep(for: .milliseconds(5)) }
        hub.stop()
    }

    /// Waits until every loop has proved that it lives, so that whoever waits for the line finds the server ready.
    private func firstProof() async {
        let deadline = ContinuousClock.now + .seconds(5)
        while hub.probeAge == nil, ContinuousClock.now < deadline {
            try? await Task.sleep(for: .milliseconds(5))
        }
    }

    /// The one line on standard output, for whoever waits for it; it is written through at once.
    private func announce() {
        var line = "herald: listening on http://\(settings.listen.with(port: port))"
        var metadata: Logger.Metadata = [
            "host": "\(settings.listen.host)", "port": "\(port)", "epoch": "\(hub.log.head.epochText)",
            "loops": "\(service.loopCount)", "io-uring": "\(hub.hasIOUring)", "version": "\(ServerRunner.version)",
        ]
        if let address = settings.tlsListen, let tlsPort {
            line += " and https://\(address.with(port: tlsPort))"
            metadata["tls-host"] = "\(address.host)"
            metadata["tls-port"] = "\(tlsPort)"
        }
        FileDescriptorSink(descriptor: 1).write(line: Array("\(line)\n".utf8))
        logger.info("listening", metadata: metadata)
    }

    /// Ends all sessions in order; what is left a second after the drain's time is cut by the stop.
    private func drain() async {
        let patience = settings.drainTimeout + .seconds(1)
        logger.info("draining", metadata: ["timeout": "\(Quantities.text(settings.drainTimeout))"])
        hub.drain()
        await withTaskGroup(of: Bool.self) { group in
            group.addTask {
                for await _ in drained {}
                return true
            }
            group.addTask {
                try? await Task.sleep(for: patience)
                return false
            }
            group.addTask {
                // The first signal has begun the drain; whoever sends another does not want to wait for it.
                for await signal in await UnixSignalsSequence(trapping: .sigterm, .sigint) {
                    _exit(128 + (signal == .sigint ? SIGINT : SIGTERM))
                }
                return false
            }
            let isDrained = await group.next() ?? false
            group.cancelAll()
            if !isDrained { logger.warning("the drain took too long; what is left is cut") }
        }
    }
}

/// What settings mean for the log and the hub.
struct ServerPlan {
    let log: LogConfiguration
    let hub: HubConfiguration
    private(set) var warnings: [String] = []

    init(_ settings: ServerSettings) {
        var warnings: [String] = []
        log = Self.log(settings, &warnings)
        hub = Self.hub(settings, &warnings)
        self.warnings = warnings
    }

    private static func log(_ settings: ServerSettings, _ warnings: inout [String]) -> LogConfiguration {
        let standard = Retention(
            count: UInt32(clamping: settings.retainEvents), bytes: UInt64(clamping: settings.retainBytes),
            ageMilliseconds: settings.retainAge.milliseconds)
        let memory = UInt64(clamping: settings.memoryLimit)
        var log = LogConfiguration(
            epoch: UInt32.random(in: .min ... .max), retention: standard,
            rules: rules(settings, standard, &warnings), memoryBytes: memory,
            topicCount: UInt32(clamping: settings.maxTopics + OwnTopic.count),
            filterCount: UInt32(clamping: settings.maxFilters + OwnTopic.count),
            linkCount: linkCount(settings), windowCount: 16_384, windowBytes: min(64 << 20, memory / 4),
            topicIdleMilliseconds: settings.topicIdle.milliseconds)
        log.compressedLength = settings.compressionMin
        return log
    }

    /// Pairs of a topic and a filter that matches it. Each topic and each filter is in a few; that all filters match
    /// all topics would be more than any memory, and is refused as too many filters or topics.
    private static func linkCount(_ settings: ServerSettings) -> UInt32 {
        UInt32(clamping: (settings.maxTopics + settings.maxFilters) * 16)
    }

    private static func rules(
        _ settings: ServerSettings, _ standard: Retention, _ warnings: inout [String]
    ) -> [LogRule] {
        var rules: [LogRule] = []
        let own = Retention(count: 1, bytes: 64 << 10, ageMilliseconds: 0)
        if let filter = try? FilterName(OwnTopic.filter) { rules.append(LogRule(filter: filter, retention: own)) }
        for rule in settings.rules {
            guard let filter = try? FilterName(rule.filter) else {
                warnings.append("the rule for \(EscapedText.quoted(rule.filter)) is passed over: it is no filter")
                continue
            }
            var retention = standard
            if let events = rule.retainEvents { retention.count = UInt32(clamping: events) }
            if let bytes = rule.retainBytes { retention.bytes = UInt64(clamping: bytes) }
            if let age = rule.retainAge { retention.ageMilliseconds = age.milliseconds }
            rules.append(LogRule(filter: filter, retention: retention, slow: rule.slowReader?.core ?? .gap))
        }
        return rules
    }

    private static func hub(_ settings: ServerSettings, _ warnings: inout [String]) -> HubConfiguration {
        var hub = HubConfiguration()
        hub.loopCount = min(settings.loops, HubConfiguration.loopCountMax)
        if hub.loopCount < settings.loops {
            warnings.append("loops: \(settings.loops) is more than can be used; there are \(hub.loopCount)")
        }
        hub.headerBlocks = AnswerHeaders(settings).blocks
        hub.faultHeaders = AnswerHeaders.ofFaults
        hub.usesIOUring = settings.ioUring
        hub.handshakesPerTurn = UInt32(clamping: settings.tlsHandshakes)
        hub.compresses = settings.compression
        hub.connectionCount = UInt32(clamping: settings.maxConnections)
        hub.headLength = UInt32(clamping: settings.maxHead)
        hub.bodyLength = UInt64(clamping: settings.maxBody)
        hub.messageLength = UInt64(clamping: settings.maxMessage)
        hub.filtersPerReader = UInt32(clamping: settings.maxFiltersPerConnection)
        hub.http2Streams = UInt32(clamping: settings.maxHTTP2Streams)
        hub.http2Allowance = UInt32(clamping: settings.http2FrameAllowance)
        hub.requestTimeout = UInt32(clamping: settings.requestTimeout.milliseconds)
        hub.idleTimeout = UInt32(clamping: settings.idleTimeout.milliseconds)
        hub.writeTimeout = UInt32(clamping: settings.writeTimeout.milliseconds)
        hub.heartbeat = UInt32(clamping: settings.heartbeat.milliseconds)
        hub.sseRetry = UInt32(clamping: settings.sseRetry.milliseconds)
        hub.drainTimeout = UInt32(clamping: settings.drainTimeout.milliseconds)
        guardAgainstCrowds(&hub, settings)
        return hub
    }
}

extension ServerPlan {
    private static func guardAgainstCrowds(_ hub: inout HubConfiguration, _ settings: ServerSettings) {
        hub.trustedProxies = settings.trustedProxies
        hub.forwardedHeader = settings.forwardedHeader
        hub.connectionsPerAddress = UInt32(clamping: settings.maxConnectionsPerAddress)
        hub.readersPerSecond = UInt32(clamping: settings.handshakeRate)
        hub.retryAfterSeconds = UInt32(clamping: settings.retryAfter.components.seconds)
    }
}

extension SlowReaderPolicy {
    /// The policy as the core has it.
    fileprivate var core: SlowPolicy {
        switch self {
        case .gap: .gap
        case .disconnect: .disconnect
        case .latest: .latest
        }
    }
}

extension Duration {
    /// The duration in whole milliseconds, those of a negative one being none.
    fileprivate var milliseconds: UInt64 {
        let (seconds, attoseconds) = components
        return UInt64(clamping: seconds) * 1000 + UInt64(clamping: attoseconds / 1_000_000_000_000_000)
    }
}

extension Cursor {
    /// The epoch as ids begin with it.
    fileprivate var epochText: String {
        String(description.prefix { $0 != "-" })
    }
}
