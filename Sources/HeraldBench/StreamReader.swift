import NIOCore
import NIOHTTP1

/// Reads an answer that does not end: Server-Sent Events or lines of JSON.
final class StreamReader: Reader {
    private let context: ReaderContext
    private let index: Int
    private let mediaType: String
    private var channel: (any Channel)?
    private var opened: EventLoopPromise<Void>?
    private var isClosed = false

    init(_ context: ReaderContext, _ index: Int, mediaType: String) {
        self.context = context
        self.index = index
        self.mediaType = mediaType
    }

    func open(after cursor: String) -> EventLoopFuture<Void> {
        var head = context.head()
        head.headers.add(name: "Accept", value: mediaType)
        head.headers.add(name: "Last-Event-ID", value: cursor)
        let opened = context.connector.promise("a stream")
        self.opened = opened
        let handler = StreamHandler(Reception(context.ledger, reader: index), mediaType: mediaType, opened)
        let connected = context.connector.connect(context.ledger) { pipeline in
            try pipeline.addHTTPClientHandlers()
            try pipeline.addHandler(handler)
        }
        connected.assumeIsolated().whenComplete { result in
            switch result {
            case .success(let channel):
                self.channel = channel
                guard !self.isClosed else { return channel.close(promise: nil) }
                let pipeline = channel.pipeline.syncOperations
                pipeline.write(NIOAny(HTTPClientRequestPart.head(head)), promise: nil)
                pipeline.writeAndFlush(NIOAny(HTTPClientRequestPart.end(nil)), promise: nil)
            case .failure(let error):
                opened.fail(error)
            }
        }
        return opened.futureResult
    }

    func close() -> EventLoopFuture<Void> {
        isClosed = true
        opened?.fail(ReaderClosed())
        guard let channel else { return context.connector.loop.makeSucceededVoidFuture() }
        channel.close(promise: nil)
        return channel.closeFuture
    }
}

/// Takes a stream's parts.
private final class StreamHandler: ChannelInboundHandler {
    typealias InboundIn = HTTPClientResponsePart

    private let mediaType: String
    private let opened: EventLoopPromise<Void>
    private var reception: Reception
    private var refusal: Answer?

    init(_ reception: Reception, mediaType: String, _ opened: EventLoopPromise<Void>) {
        self.reception = reception
        self.mediaType = mediaType
        self.opened = opened
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch Self.unwrapInboundIn(data) {
        case .head(let head):
            let type = head.headers.first(name: "Content-Type") ?? ""
            if head.status != .ok {
                refusal = Answer(head: head)
            } else if type.hasPrefix(mediaType) {
                opened.succeed(())
            } else {
                end(BenchFault("an answer of type \"\(type)\" came where \(mediaType) was expected"))
            }
        case .body(var part):
            if let length = refusal?.body.readableBytes {
                if length + part.readableBytes <= AnswerHandler.bodyBytesMax { refusal?.body.writeBuffer(&part) }
            } else {
                reception.take(part, at: .now())
            }
        case .end:
            end(refusal?.refusal ?? BenchFault("the server ended a stream"))
            context.close(promise: nil)
        }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        end(error)
        context.close(promise: nil)
    }

    func channelInactive(context: ChannelHandlerContext) {
        end(refusal?.refusal ?? BenchFault("the server cut a stream"))
        context.fireChannelInactive()
    }

    private func end(_ error: any Error) {
        opened.fail(error)
        reception.ledger.fail(error)
    }
}
