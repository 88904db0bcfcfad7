// The pipeline of a WebSocket: the handshake, and the frames that concern the connection itself.
//
// Pings are answered here, on the event loop, not by the task that reads the events: a reader that is busy with an
// event must not look dead to its server.

import NIOCore
import NIOHTTP1
import NIOWebSocket

/// What a WebSocket hands to its reader.
enum WebSocketMessage: Sendable, Equatable {
    /// A whole text message.
    case text([UInt8])

    /// A ping or pong, already dealt with: a sign of life.
    case alive

    /// The server's close frame, already answered.
    case closed(code: Int, reason: String)
}

/// What the server did that RFC 6455 forbids.
enum WebSocketFault: Error, Equatable {
    case maskedFrame
    case reservedBits
    case unknownOpcode
    case notUTF8
    case binaryMessage
}

extension WebSocketFrame {
    /// A close frame of a client.
    static func close(_ code: WebSocketErrorCode, _ allocator: ByteBufferAllocator) -> WebSocketFrame {
        var data = allocator.buffer(capacity: 2)
        data.write(webSocketErrorCode: code)
        return WebSocketFrame(fin: true, opcode: .connectionClose, maskKey: .random(), data: data)
    }
}

/// What became of a handshake.
enum WebSocketOpening: Sendable {
    case webSocket(NIOAsyncChannel<WebSocketMessage, WebSocketFrame>)

    /// The server answered otherwise; its answer comes once it was read to its end.
    case refused(EventLoopFuture<CollectedAnswer>)

    /// Sets a new connection up to shake hands. Call on the channel's event loop.
    static func install(
        on channel: any Channel, _ head: HTTPRequestHead, messageBytesMax: Int
    ) throws -> EventLoopFuture<WebSocketOpening> {
        let upgrader = NIOTypedWebSocketClientUpgrader<WebSocketOpening>(
            maxFrameSize: messageBytesMax, enableAutomaticErrorHandling: false
        ) { channel, _ in
            channel.eventLoop.makeCompletedFuture {
                let pipeline = channel.pipeline.syncOperations
                try pipeline.addHandler(
                    NIOWebSocketFrameAggregator(
                        minNonFinalFragmentSize: 0, maxAccumulatedFrameCount: 1_024,
                        maxAccumulatedFrameSize: messageBytesMax))
                try pipeline.addHandler(WebSocketControlHandler())
                return .webSocket(try NIOAsyncChannel(wrappingChannelSynchronously: channel))
            }
        }
        let upgrade = NIOTypedHTTPClientUpgradeConfiguration<WebSocketOpening>(
            upgradeRequestHead: head, upgraders: [upgrader]
        ) { channel in
            channel.eventLoop.makeCompletedFuture {
                let handler = RefusalHandler(channel.eventLoop)
                try channel.pipeline.syncOperations.addHandler(handler)
                // Parts of the answer reach the handler only after this future is done: it must not wait for them.
                return .refused(handler.refusal)
            }
        }
        var pipeline = NIOUpgradableHTTPClientPipelineConfiguration(upgradeConfiguration: upgrade)
        // The server's first messages may stand in the same packet as its 101: they are frames already.
        pipeline.leftOverBytesStrategy = .forwardBytes
        return try channel.pipeline.syncOperations.configureUpgradableHTTPClientPipeline(configuration: pipeline)
    }
}

/// Reads the answer of a server that refused the handshake, up to a bound.
private final class RefusalHandler: ChannelInboundHandler {
    typealias InboundIn = HTTPClientResponsePart

    /// A problem document is small; what is beyond this is not read.
    private static let bodyBytesMax = 65_536

    private let promise: EventLoopPromise<CollectedAnswer>
    private var answer: CollectedAnswer?

    init(_ loop: any EventLoop) { self.promise = loop.makePromise() }

    var refusal: EventLoopFuture<CollectedAnswer> { promise.futureResult }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch Self.unwrapInboundIn(data) {
        case .head(let head):
            answer = CollectedAnswer(status: Int(head.status.code), headers: head.headers, body: [])
        case .body(let part):
            let room = Self.bodyBytesMax - (answer?.body.count ?? 0)
            answer?.body.append(contentsOf: part.readableBytesView.prefix(room))
        case .end:
            finish(context)
        }
    }

    func channelInactive(context: ChannelHandlerContext) {
        finish(context)
        context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        promise.fail(error)
        context.close(promise: nil)
    }

    private func finish(_ context: ChannelHandlerContext) {
        if let answer {
            promise.succeed(answer)
        } else {
            promise.fail(ChannelError.eof)
        }
        context.close(promise: nil)
    }
}

/// Answers pings and close frames, checks what the frame decoder leaves unchecked, and hands on whole messages.
private final class WebSocketControlHandler: ChannelInboundHandler {
    typealias InboundIn = WebSocketFrame
    typealias InboundOut = WebSocketMessage
    typealias OutboundOut = WebSocketFrame

    private var isClosing = false

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard !isClosing else { return }
        let frame = Self.unwrapInboundIn(data)
        guard frame.maskKey == nil else { return fail(context, WebSocketFault.maskedFrame) }
        guard !frame.rsv1, !frame.rsv2, !frame.rsv3 else { return fail(context, WebSocketFault.reservedBits) }
        switch frame.opcode {
        case .text:
            let bytes = Array(frame.data.readableBytesView)
            guard String(validating: bytes, as: UTF8.self) != nil else { return fail(context, WebSocketFault.notUTF8) }
            context.fireChannelRead(Self.wrapInboundOut(.text(bytes)))
        case .ping:
            let pong = WebSocketFrame(fin: true, opcode: .pong, maskKey: .random(), data: frame.data)
            context.writeAndFlush(Self.wrapOutboundOut(pong), promise: nil)
            context.fireChannelRead(Self.wrapInboundOut(.alive))
        case .pong:
            context.fireChannelRead(Self.wrapInboundOut(.alive))
        case .connectionClose:
            answerClose(context, frame)
        case .binary:
            fail(context, WebSocketFault.binaryMessage)
        default:
            fail(context, WebSocketFault.unknownOpcode)
        }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        fail(context, error)
    }

    private func answerClose(_ context: ChannelHandlerContext, _ frame: WebSocketFrame) {
        isClosing = true
        var data = frame.data
        let code = data.readInteger(as: UInt16.self)
        let reason = String(decoding: data.readableBytesView, as: UTF8.self)
        // 1005 is RFC 6455's number for a close frame without one; it never travels itself.
        context.fireChannelRead(Self.wrapInboundOut(.closed(code: Int(code ?? 1005), reason: reason)))
        var answer = context.channel.allocator.buffer(capacity: 2)
        if let code { answer.writeInteger(code) }
        let echo = WebSocketFrame(fin: true, opcode: .connectionClose, maskKey: .random(), data: answer)
        context.writeAndFlush(Self.wrapOutboundOut(echo), promise: nil)
    }

    /// Tells the server with which code its mistake ends the connection, ends it, and tells the reader why.
    private func fail(_ context: ChannelHandlerContext, _ error: any Error) {
        guard !isClosing else { return }
        isClosing = true
        let code: WebSocketErrorCode
        switch error {
        case WebSocketFault.notUTF8: code = .dataInconsistentWithMessage
        case WebSocketFault.binaryMessage: code = .unacceptableData
        case NIOWebSocketError.invalidFrameLength: code = .messageTooLarge
        case NIOWebSocketFrameAggregator.Error.accumulatedFrameSizeIsTooLarge: code = .messageTooLarge
        default: code = .protocolError
        }
        context.fireErrorCaught(error)
        let channel = context.channel
        let goodbye = WebSocketFrame.close(code, channel.allocator)
        context.writeAndFlush(Self.wrapOutboundOut(goodbye)).whenComplete { _ in channel.close(promise: nil) }
    }
}
