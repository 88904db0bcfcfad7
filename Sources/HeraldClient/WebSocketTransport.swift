import NIOCore
import NIOHTTP1
import NIOPosix
import NIOWebSocket
import Synchronization

/// Reads events from a WebSocket.
struct WebSocketTransport: ReaderTransport {
    let caller: HTTPCaller
    let filters: [String]

    let kind = TransportKind.webSocket

    /// The first message of a WebSocket says where it stands.
    let namesItsStart = true

    func run(_ lane: Lane) async throws -> StreamEnd {
        let head = requestHead(from: await lane.position)
        let limits = caller.configuration
        do {
            return try await SilenceWatch.run(limit: limits.silenceMax) { watch in
                try await caller.showingToken { token in
                    watch.setLimit(limits.connectTimeout + limits.requestTimeout)
                    watch.startWaiting()
                    let channel = try await open(head, with: token)
                    watch.stopWaiting()
                    watch.setLimit(limits.silenceMax)
                    return try await read(channel, from: token, lane, watch)
                }
            }
        } catch {
            throw explain(error)
        }
    }

    private func requestHead(from position: Position) -> HTTPRequestHead {
        let query = filters.map { ("topic", $0) } + [("after", position.description)]
        var head = HTTPRequestHead(
            version: .http1_1, method: .GET, uri: caller.base.target("/v1/events", query: query))
        head.headers.add(name: "Host", value: caller.base.authority)
        head.headers.add(name: "Sec-WebSocket-Protocol", value: "herald.v1")
        for (name, value) in caller.configuration.headers { head.headers.add(name: name, value: value) }
        return head
    }

    /// Connects and shakes hands. A cancellation closes the connection, whatever stage it is in.
    ///
    /// A WebSocket that has come to be is given back in any case: its writer must be used up by `executeThenClose`.
    private func open(
        _ head: HTTPRequestHead, with token: Token?
    ) async throws -> NIOAsyncChannel<WebSocketMessage, WebSocketFrame> {
        var head = head
        if let token { head.headers.replaceOrAdd(name: "Authorization", value: "Bearer \(token.text)") }
        return try await open(head)
    }

    private func open(
        _ head: HTTPRequestHead
    ) async throws -> NIOAsyncChannel<WebSocketMessage, WebSocketFrame> {
        let early = Mutex<(any Channel)?>(nil)
        let messageBytesMax = caller.configuration.limits.messageBytesMax
        return try await withTaskCancellationHandler {
            let opening = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
                .connectTimeout(TimeAmount(caller.configuration.connectTimeout))
                .channelInitializer { channel in
                    early.withLock { $0 = channel }
                    return channel.eventLoop.makeSucceededVoidFuture()
                }
                .connect(host: caller.base.host, port: caller.base.port) { channel in
                    channel.eventLoop.makeCompletedFuture {
                        if caller.base.isSecure {
                            try channel.pipeline.syncOperations.addHandler(
                                TLSSettings.webSocketHandler(caller.configuration, host: caller.base.host))
                        }
                        return try WebSocketOpening.install(on: channel, head, messageBytesMax: messageBytesMax)
                    }
                }
            // Whoever was cancelled before there was a connection has closed none.
            if Task.isCancelled { early.withLock { $0 }?.close(promise: nil) }
            switch try await opening.get() {
            case .webSocket(let channel): return channel
            case .refused(let answer): throw HeraldError.problem(Problem(try await answer.get()))
            }
        } onCancel: {
            early.withLock { $0 }?.close(promise: nil)
        }
    }

    private func read(
        _ channel: NIOAsyncChannel<WebSocketMessage, WebSocketFrame>, from token: Token?, _ lane: Lane,
        _ watch: SilenceWatch
    ) async throws -> StreamEnd {
        try await channel.executeThenClose { inbound, outbound in
            do {
                return try await Renewer.run(
                    caller.tokens, from: token,
                    { token, _ in try await outbound.write(Self.renewal(token, channel.channel.allocator)) },
                    { renewer in
                        let messages = StreamMessages(
                            lane: lane, watch: watch, renewer: renewer,
                            silenceMax: caller.configuration.silenceMax)
                        return try await read(inbound, messages)
                    })
            } catch {
                await close(channel.channel, because: error)
                throw error
            }
        }
    }

    /// Reads to the end, which is always one that is thrown.
    private func read(
        _ inbound: NIOAsyncChannelInboundStream<WebSocketMessage>, _ messages: StreamMessages
    ) async throws -> StreamEnd {
        var pieces = inbound.makeAsyncIterator()
        var isProven = false
        while true {
            messages.watch.startWaiting()
            let piece = try await pieces.next()
            messages.watch.stopWaiting()
            switch piece {
            case .text(let bytes):
                let first: [Signal] = isProven ? [] : [.connection(.connected(over: kind))]
                try await messages.take([bytes], after: first) { bytes in
                    try messages.signals(of: try ServerMessage(json: bytes))
                }
                isProven = true
            case .alive: continue
            case .closed(let code, let reason): throw Self.end(code, reason)
            case nil: throw HeraldError.cut("\(caller.base.description) cut the WebSocket")
            }
        }
    }

    /// What a close frame means. Where the right to read has ended its reason says so.
    private static func end(_ code: Int, _ reason: String) -> HeraldError {
        let titles = ["expired-token": "The token has expired", "revoked-token": "The token has been revoked"]
        guard code == 1008, let title = titles[reason] else { return .closed(code: code, reason: reason) }
        return .problem(Problem(type: "/problems/\(reason)", title: title, status: 401))
    }

    /// The operation that has the WebSocket go on with another token.
    private static func renewal(_ token: Token, _ allocator: ByteBufferAllocator) -> WebSocketFrame {
        var operation = JSONWriter()
        operation.member("op", text: "renew")
        operation.member("ref", text: "renew")
        operation.member("token", text: token.text)
        let data = allocator.buffer(bytes: operation.finish())
        return WebSocketFrame(fin: true, opcode: .text, maskKey: .random(), data: data)
    }

    /// Says goodbye, and gives the server a moment to answer (RFC 6455 §7.1.1).
    private func close(_ channel: any Channel, because error: any Error) async {
        guard channel.isActive else { return }
        let code: WebSocketErrorCode
        switch error {
        case HeraldError.closed: return
        case HeraldError.problem(let problem) where problem.status == 401: return
        case HeraldError.malformed: code = .dataInconsistentWithMessage
        case is CancellationError: code = .normalClosure
        default: code = .goingAway
        }
        let goodbye = WebSocketFrame.close(code, channel.allocator)
        let patience = channel.eventLoop.scheduleTask(in: TimeAmount(caller.configuration.closeTimeout)) {
            channel.close(promise: nil)
        }
        try? await channel.writeAndFlush(goodbye).get()
        try? await channel.closeFuture.get()
        patience.cancel()
    }

    private func explain(_ error: any Error) -> any Error {
        switch error {
        case NIOWebSocketError.invalidFrameLength:
            return HeraldError.tooLarge(what: "An event", limit: caller.configuration.limits.messageBytesMax)
        case NIOWebSocketFrameAggregator.Error.accumulatedFrameSizeIsTooLarge:
            return HeraldError.tooLarge(what: "An event", limit: caller.configuration.limits.messageBytesMax)
        case is NIOWebSocketError, is NIOWebSocketFrameAggregator.Error, is WebSocketFault:
            return HeraldError.malformed("a WebSocket frame that breaks RFC 6455 (\(error))")
        case is NIOHTTPClientUpgradeError:
            return HeraldError.malformed("a handshake that breaks RFC 6455 (\(error))")
        default:
            return caller.explain(error)
        }
    }
}
