import NIOCore
import NIOHTTP1
import NIOPosix
import NIOWebSocket
import Synchronization

/// Reads events from a WebSocket.
struct WebSocketTransport: ReaderTransport {
    let caller: HTTPCaller
    let filters: [String]

    /// The first message of a WebSocket says where it stands.
    let namesItsStart = true

    func run(_ feed: ReaderFeed) async throws -> StreamEnd {
        let head = requestHead(from: await feed.position)
        let limits = caller.configuration
        do {
            return try await SilenceWatch.run(limit: limits.silenceMax) { watch in
                watch.setLimit(limits.connectTimeout + limits.requestTimeout)
                watch.startWaiting()
                let channel = try await open(head)
                watch.stopWaiting()
                watch.setLimit(limits.silenceMax)
                return try await read(channel, feed, watch)
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
            try Task.checkCancellation()
            switch try await opening.get() {
            case .webSocket(let channel): return channel
            case .refused(let answer): throw HeraldError.problem(Problem(try await answer.get()))
            }
        } onCancel: {
            early.withLock { $0 }?.close(promise: nil)
        }
    }

    private func read(
        _ channel: NIOAsyncChannel<WebSocketMessage, WebSocketFrame>, _ feed: ReaderFeed, _ watch: SilenceWatch
    ) async throws -> StreamEnd {
        try await channel.executeThenClose { inbound, _ in
            do {
                try await feed.take([.connected])
                var messages = inbound.makeAsyncIterator()
                while true {
                    watch.startWaiting()
                    let message = try await messages.next()
                    watch.stopWaiting()
                    switch message {
                    case .text(let bytes): try await take(bytes, feed, watch)
                    case .alive: continue
                    case .closed(let code, let reason): throw HeraldError.closed(code: code, reason: reason)
                    case nil: throw HeraldError.cut("\(caller.base.description) cut the WebSocket")
                    }
                }
            } catch {
                await close(channel.channel, because: error)
                throw error
            }
        }
    }

    private func take(_ bytes: [UInt8], _ feed: ReaderFeed, _ watch: SilenceWatch) async throws {
        let message = try ServerMessage(json: bytes)
        if case .welcome(_, let heartbeat?) = message, heartbeat > .zero {
            watch.setLimit(min(heartbeat * 5 / 2, caller.configuration.silenceMax))
        }
        let signals = try Signal.signals(of: message)
        if !signals.isEmpty { try await feed.take(signals) }
    }

    /// Says goodbye, and gives the server a moment to answer (RFC 6455 §7.1.1).
    private func close(_ channel: any Channel, because error: any Error) async {
        guard channel.isActive else { return }
        let code: WebSocketErrorCode
        switch error {
        case HeraldError.closed: return
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
