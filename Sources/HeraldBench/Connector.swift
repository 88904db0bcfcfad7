import HeraldClient
import NIOCore
import NIOHTTP1
import NIOPosix
import NIOSSL

/// Opens connections to the server, all on one event loop.
struct Connector: Sendable {
    let loop: any EventLoop
    let base: BaseURL

    /// How long the server may take to answer what it does not have to hold.
    static let patience = TimeAmount.seconds(15)

    private let authorization: String?
    private let tls: NIOSSLContext?
    private let connectTimeout: TimeAmount

    init(url: String, token: String?, configuration: ClientConfiguration, loop: any EventLoop) throws {
        self.loop = loop
        self.base = try BaseURL(url)
        self.authorization = token.map { "Bearer \($0)" }
        self.connectTimeout = TimeAmount(configuration.connectTimeout)
        if base.isSecure {
            var settings = try TLSSettings.make(configuration)
            settings.applicationProtocols = ["http/1.1"]
            self.tls = try NIOSSLContext(configuration: settings)
        } else {
            self.tls = nil
        }
    }

    /// The head of a request: what it must have, and no more.
    func head(_ method: HTTPMethod, _ path: String, query: [(String, String)] = []) -> HTTPRequestHead {
        var head = HTTPRequestHead(version: .http1_1, method: method, uri: base.target(path, query: query))
        head.headers.add(name: "Host", value: base.authority)
        if let authorization { head.headers.add(name: "Authorization", value: authorization) }
        return head
    }

    /// Opens a connection, whose bytes the ledger counts if there is one, and sets it up with the closure.
    ///
    /// Call on the loop.
    func connect(
        _ ledger: Ledger?, _ setUp: @escaping (ChannelPipeline.SynchronousOperations) throws -> Void
    ) -> EventLoopFuture<any Channel> {
        let bound = NIOLoopBound((ledger: ledger, setUp: setUp), eventLoop: loop)
        return ClientBootstrap(group: loop)
            .connectTimeout(connectTimeout)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    let pipeline = channel.pipeline.syncOperations
                    if let ledger = bound.value.ledger { try pipeline.addHandler(WireCounter(ledger)) }
                    if let tls { try pipeline.addHandler(try tlsHandler(tls)) }
                    try bound.value.setUp(pipeline)
                }
            }
            .connect(host: base.host, port: base.port)
            .flatMapErrorThrowing { error in
                throw BenchFault("\(base.description) cannot be reached: \(HTTPCaller.words(for: error))")
            }
    }

    /// A promise that a reader is taken in. It fails if the server does not do so in time.
    func promise(_ what: String) -> EventLoopPromise<Void> {
        let promise = loop.makePromise(of: Void.self)
        let limit = loop.scheduleTask(in: Self.patience) {
            let seconds = Self.patience.nanoseconds / 1_000_000_000
            promise.fail(BenchFault("\(base.description) did not open \(what) within \(seconds) s"))
        }
        promise.futureResult.whenComplete { _ in limit.cancel() }
        return promise
    }

    private func tlsHandler(_ context: NIOSSLContext) throws -> NIOSSLClientHandler {
        // RFC 6066 §3: an address is no server name.
        let isAddress = (try? SocketAddress(ipAddress: base.host, port: 0)) != nil
        return try NIOSSLClientHandler(context: context, serverHostname: isAddress ? nil : base.host)
    }
}
