import NIOCore
import NIOPosix
import Synchronization
import Testing

@testable import Herald

/// Answers each connection's first request with a text, and keeps the connection or closes it.
private final class KeyServer: Sendable {
    private final class Answerer: ChannelInboundHandler, Sendable {
        typealias InboundIn = ByteBuffer
        private let server: KeyServer

        init(_ server: KeyServer) { self.server = server }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            let request = String(buffer: unwrapInboundIn(data))
            let answer = server.state.withLock { state in
                state.requests.append(request)
                return state.answer
            }
            context.writeAndFlush(NIOAny(ByteBuffer(string: answer)), promise: nil)
        }
    }

    private let state = Mutex<(answer: String, requests: [String])>(("", []))
    private let channel = Mutex<(any Channel)?>(nil)

    init() async throws {
        let bound = try await ServerBootstrap(group: .singletonMultiThreadedEventLoopGroup)
            .childChannelInitializer { $0.pipeline.addHandler(Answerer(self)) }
            .bind(host: "127.0.0.1", port: 0).get()
        channel.withLock { $0 = bound }
    }

    var url: String { "http://127.0.0.1:\(channel.withLock { $0?.localAddress?.port } ?? 0)/keys" }

    var requests: [String] { state.withLock { $0.requests } }

    func answer(_ head: String, _ body: String = "", length: Int? = nil) {
        let text = "HTTP/1.1 \(head)\r\nContent-Length: \(length ?? body.utf8.count)\r\n\r\n\(body)"
        state.withLock { $0.answer = text }
    }

    func close() async throws { try await channel.withLock { $0 }?.close().get() }
}

@Suite struct KeyFetcherTests {
    @Test func `a document is fetched with its tag and its age, and not twice`() async throws {
        let server = try await KeyServer()
        let fetcher = KeyFetcher(url: server.url)
        server.answer("200 OK\r\nETag: \"7\"\r\nCache-Control: public, max-age=60", "{}")
        let first = try await fetcher.fetch(nil)
        #expect((first.document, first.entityTag, first.maxAge) == (Array("{}".utf8), "\"7\"", .seconds(60)))
        server.answer("304 Not Modified\r\nETag: \"7\"")
        let second = try await fetcher.fetch("\"7\"")
        #expect(second.document == nil && second.maxAge == nil)
        #expect(server.requests.map { $0.lowercased().contains("if-none-match: \"7\"") } == [false, true])
        await #expect(throws: KeyFault.self) { try await fetcher.fetch(nil) }
        try await server.close()
    }

    @Test(arguments: ["404 Not Found", "302 Found\r\nLocation: /else", "500 Oh", "204 No Content", "nonsense"])
    func `an answer without a document is a failure`(head: String) async throws {
        let server = try await KeyServer()
        server.answer(head)
        await #expect(throws: KeyFault.self) { try await KeyFetcher(url: server.url).fetch(nil) }
        #expect(server.requests.count == 1)
        try await server.close()
    }

    @Test func `a document that never ends is given up`() async throws {
        let server = try await KeyServer()
        server.answer("200 OK", "{", length: 100)
        let fetcher = KeyFetcher(url: server.url, timeout: .milliseconds(200))
        let fault = await #expect(throws: KeyFault.self) { try await fetcher.fetch(nil) }
        #expect(fault?.description.contains("longer than 200ms") == true)
        try await server.close()
    }

    @Test func `a document that is too large is given up`() async throws {
        let server = try await KeyServer()
        server.answer("200 OK", String(repeating: " ", count: KeyDocument.lengthMax + 1))
        let fault = await #expect(throws: KeyFault.self) { try await KeyFetcher(url: server.url).fetch(nil) }
        #expect(fault?.description.contains("larger than") == true)
        try await server.close()
    }

    @Test func `nobody there is a failure`() async throws {
        let server = try await KeyServer()
        let url = server.url
        try await server.close()
        await #expect(throws: KeyFault.self) { try await KeyFetcher(url: url, timeout: .milliseconds(200)).fetch(nil) }
    }
}
