import NIOCore

/// Counts the bytes of a connection where they enter and leave the socket: below HTTP, WebSocket framing and TLS.
///
/// What TCP and IP add is not in it, nor what the kernel sends again.
final class WireCounter: ChannelDuplexHandler {
    typealias InboundIn = ByteBuffer
    typealias InboundOut = ByteBuffer
    typealias OutboundIn = IOData
    typealias OutboundOut = IOData

    private let ledger: Ledger

    init(_ ledger: Ledger) { self.ledger = ledger }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        ledger.counts.bytesReceived += Self.unwrapInboundIn(data).readableBytes
        context.fireChannelRead(data)
    }

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        ledger.counts.bytesSent += Self.unwrapOutboundIn(data).readableBytes
        context.write(data, promise: promise)
    }
}
