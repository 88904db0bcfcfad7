import NIOCore
import NIOHTTP1
import NIOWebSocket

/// Reads from a WebSocket.
final class WebSocketReader: Reader {
    private let context: ReaderContext
    private let index: Int
    private var channel: (any Channel)?
    private var opened: EventLoopPromise<Void>?
    private var isOpen = false
    private var isClosed = false

    init(_ context: ReaderContext, _ index: Int) {
        self.context = context
        self.index = index
    }

    func open(after cursor: String) -> EventLoopFuture<Void> {
        let loop = context.connector.loop
        let opened = context.connector.promise("a WebSocket")
        self.opened = opened
        opened.futureResult.assumeIsolated().whenSuccess { self.isOpen = true }
        var head = context.head([("after", cursor)])
        head.headers.add(name: "Sec-WebSocket-Protocol", value: "herald.v1")
        let frames = FrameHandler(Reception(context.ledger, reader: index))
        let connected = context.connector.connect(context.ledger) { pipeline in
            try Self.shakeHands(pipeline, head, frames, opened, on: loop)
        }
        connected.assumeIsolated().whenComplete { result in
            switch result {
            case .success(let channel):
                self.channel = channel
                if self.isClosed { channel.close(promise: nil) }
            case .failure(let error): opened.fail(error)
            }
        }
        return opened.futureResult
    }

    /// Says goodbye before it closes, so that the server's log and counts tell of an end in good order.
    func close() -> EventLoopFuture<Void> {
        isClosed = true
        opened?.fail(ReaderClosed())
        guard let channel else { return context.connector.loop.makeSucceededVoidFuture() }
        guard isOpen, channel.isActive else {
            channel.close(promise: nil)
            return channel.closeFuture
        }
        var code = ByteBuffer()
        code.write(webSocketErrorCode: .normalClosure)
        let goodbye = WebSocketFrame(fin: true, opcode: .connectionClose, maskKey: .random(), data: code)
        channel.writeAndFlush(goodbye).whenComplete { _ in channel.close(promise: nil) }
        return channel.closeFuture
    }

    private static func shakeHands(
        _ pipeline: ChannelPipeline.SynchronousOperations, _ head: HTTPRequestHead, _ frames: FrameHandler,
        _ opened: EventLoopPromise<Void>, on loop: any EventLoop
    ) throws {
        let bound = NIOLoopBound(frames, eventLoop: loop)
        let upgrader = NIOTypedWebSocketClientUpgrader<Void>(
            maxFrameSize: AnswerHandler.bodyBytesMax, enableAutomaticErrorHandling: false
        ) { channel, _ in
            channel.eventLoop.makeCompletedFuture {
                try channel.pipeline.syncOperations.addHandler(bound.value)
                opened.succeed(())
            }
        }
        let upgrade = NIOTypedHTTPClientUpgradeConfiguration<Void>(upgradeRequestHead: head, upgraders: [upgrader]) {
            channel in
            channel.eventLoop.makeCompletedFuture {
                let refusal = AnswerHandler(
                    onAnswer: { opened.fail($0.refusal) }, onEnd: { opened.fail($0) })
                try channel.pipeline.syncOperations.addHandler(refusal)
            }
        }
        var configuration = NIOUpgradableHTTPClientPipelineConfiguration(upgradeConfiguration: upgrade)
        // The server's first messages may stand in the same packet as its 101: they are frames already.
        configuration.leftOverBytesStrategy = .forwardBytes
        try pipeline.configureUpgradableHTTPClientPipeline(configuration: configuration)
            .whenFailure { opened.fail($0) }
    }
}

/// Takes a WebSocket's frames.
private final class FrameHandler: ChannelInboundHandler {
    typealias InboundIn = WebSocketFrame
    typealias OutboundOut = WebSocketFrame

    private var reception: Reception

    init(_ reception: Reception) { self.reception = reception }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let frame = Self.unwrapInboundIn(data)
        switch frame.opcode {
        case .text, .continuation, .binary:
            reception.take(frame.data, at: .now())
        case .ping:
            let pong = WebSocketFrame(fin: true, opcode: .pong, maskKey: .random(), data: frame.data)
            context.writeAndFlush(Self.wrapOutboundOut(pong), promise: nil)
        case .connectionClose:
            reception.ledger.fail(BenchFault("the server closed a WebSocket"))
            context.close(promise: nil)
        default:
            break
        }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        reception.ledger.fail(error)
        context.close(promise: nil)
    }

    func channelInactive(context: ChannelHandlerContext) {
        reception.ledger.fail(BenchFault("the server cut a WebSocket"))
        context.fireChannelInactive()
    }
}
