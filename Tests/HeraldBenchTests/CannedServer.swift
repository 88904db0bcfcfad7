import HeraldClient
import NIOCore
import NIOPosix
import Synchronization

@testable import HeraldBench

/// What a canned server sends, and whether it closes the connection after that.
struct CannedReply: Sendable {
    var text: String
    var closes = false

    /// An answer with a length.
    static func answer(_ status: String, _ body: String = "", _ fields: String = "", closes: Bool = false) -> Self {
        Self(text: "HTTP/1.1 \(status)\r\n\(fields)Content-Length: \(body.utf8.count)\r\n\r\n\(body)", closes: closes)
    }
}

/// Answers the head of every request with bytes that a test has chosen, and knows nothing of HTTP.
final class CannedHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private let reply: (String) -> CannedReply
    private var text = ""

    init(_ reply: @escaping (String) -> CannedReply) { self.reply = reply }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        text += String(buffer: Self.unwrapInboundIn(data))
        while let end = text.firstRange(of: "\r\n\r\n") {
            let head = String(text[..<end.lowerBound])
            text = String(text[end.upperBound...])
            let reply = reply(head)
            context.writeAndFlush(Self.wrapOutboundOut(ByteBuffer(string: reply.text)), promise: nil)
            if reply.closes { context.close(promise: nil) }
        }
    }
}

/// The heads of the requests that have come to a server.
final class CannedHeads: Sendable {
    private let heads = Mutex<[String]>([])

    var all: [String] { heads.withLock { $0 } }

    /// Adds a head; gives its number, from 0.
    func add(_ head: String) -> Int {
        heads.withLock {
            $0.append(head)
            return $0.count - 1
        }
    }
}

/// Runs canned servers.
enum Canned {
    /// Lends a connector to a server that answers requests by their number, from 0. Gives the heads of the requests.
    @discardableResult
    static func run(
        _ reply: @escaping @Sendable (Int) -> CannedReply, _ body: (Connector) async throws -> Void
    ) async throws -> [String] {
        let heads = CannedHeads()
        let group = MultiThreadedEventLoopGroup.singleton
        let server = try await ServerBootstrap(group: group)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(CannedHandler { reply(heads.add($0)) })
                }
            }
            .bind(host: "127.0.0.1", port: 0).get()
        let result: Result<Void, any Error>
        do {
            let connector = try Connector(
                url: "http://127.0.0.1:\(server.localAddress?.port ?? 0)", token: "t0ken",
                configuration: ClientConfiguration(), loop: group.next())
            result = .success(try await body(connector))
        } catch {
            result = .failure(error)
        }
        try await server.close()
        try result.get()
        return heads.all
    }
}
