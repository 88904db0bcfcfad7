import HeraldClient
import NIOCore
import NIOHTTP1

/// An answer that was read to its end.
struct Answer: Sendable {
    let head: HTTPResponseHead
    var body = ByteBuffer()

    /// When its last byte had come.
    var time = NIODeadline.now()

    /// The answer as the error that it is.
    var refusal: HeraldError {
        HeraldError.problem(
            Problem(
                status: Int(head.status.code), reason: head.status.reasonPhrase,
                contentType: head.headers.first(name: "Content-Type"),
                retryAfter: head.headers.first(name: "Retry-After"), body: Array(body.readableBytesView)))
    }
}

/// Puts the parts of answers together.
///
/// Thread: the loop's.
final class AnswerHandler: ChannelInboundHandler {
    typealias InboundIn = HTTPClientResponsePart

    /// A poll's answer has up to a MiB of events, and heads have their own bound.
    static let bodyBytesMax = 4 << 20

    private let onAnswer: (Answer) -> Void
    private let onEnd: (any Error) -> Void
    private var answer: Answer?

    init(onAnswer: @escaping (Answer) -> Void, onEnd: @escaping (any Error) -> Void) {
        self.onAnswer = onAnswer
        self.onEnd = onEnd
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch Self.unwrapInboundIn(data) {
        case .head(let head):
            answer = Answer(head: head)
        case .body(var part):
            guard let length = answer?.body.readableBytes, length + part.readableBytes <= Self.bodyBytesMax else {
                errorCaught(context: context, error: BenchFault("an answer is larger than \(Self.bodyBytesMax) bytes"))
                return
            }
            answer?.body.writeBuffer(&part)
        case .end:
            guard var whole = answer else { return }
            answer = nil
            whole.time = .now()
            onAnswer(whole)
        }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        onEnd(error)
        context.close(promise: nil)
    }

    func channelInactive(context: ChannelHandlerContext) {
        onEnd(BenchFault("the server closed a connection before it had answered"))
        context.fireChannelInactive()
    }
}

/// A connection for requests, one at a time. It is opened anew if the server has closed it between two of them.
///
/// Thread: the loop's.
final class Caller {
    typealias Completion = (Result<Answer, any Error>) -> Void

    private let connector: Connector
    private let ledger: Ledger?
    private var channel: (any Channel)?
    private var completion: Completion?
    private var isClosed = false

    /// The connections that were begun. What an earlier one still has to say concerns nobody any more.
    private var connections = 0

    /// Makes a caller without a connection. The ledger counts its bytes.
    init(_ connector: Connector, _ ledger: Ledger?) {
        self.connector = connector
        self.ledger = ledger
    }

    /// Opens the connection.
    func connect() -> EventLoopFuture<Void> {
        connections += 1
        let number = connections
        let opened = connector.connect(ledger) { pipeline in
            try pipeline.addHTTPClientHandlers()
            try pipeline.addHandler(
                AnswerHandler(
                    onAnswer: { [weak self] in self?.take($0, from: number) },
                    onEnd: { [weak self] in self?.end($0, from: number) }))
        }
        return opened.assumeIsolated().map { channel in
            self.channel = channel
            // Closed while it was being opened.
            if self.isClosed { channel.close(promise: nil) }
        }.nonisolated()
    }

    /// Sends a request and gives its answer to the closure. The one before must have been answered.
    func call(_ head: HTTPRequestHead, body: ByteBuffer? = nil, _ completion: @escaping Completion) {
        precondition(self.completion == nil, "one request at a time")
        self.completion = completion
        if let channel, channel.isActive {
            send(head, body, on: channel)
            return
        }
        if channel != nil { ledger?.counts.reconnections += 1 }
        connect().assumeIsolated().whenComplete { result in
            switch (result, self.channel) {
            case (.success, let channel?): self.send(head, body, on: channel)
            case (.success, nil): break
            case (.failure(let error), _): self.finish(.failure(error))
            }
        }
    }

    /// Closes the connection. A request that waits for its answer is forgotten.
    func close() -> EventLoopFuture<Void> {
        completion = nil
        isClosed = true
        guard let channel else { return connector.loop.makeSucceededVoidFuture() }
        channel.close(promise: nil)
        return channel.closeFuture
    }

    /// Gives up the request that waits for its answer, and the connection with it: what comes after all must not be
    /// taken for the answer to the next request, which gets a connection of its own.
    func giveUp() {
        completion = nil
        channel?.close(promise: nil)
    }

    private func send(_ head: HTTPRequestHead, _ body: ByteBuffer?, on channel: any Channel) {
        let pipeline = channel.pipeline.syncOperations
        pipeline.write(NIOAny(HTTPClientRequestPart.head(head)), promise: nil)
        if let body { pipeline.write(NIOAny(HTTPClientRequestPart.body(.byteBuffer(body))), promise: nil) }
        pipeline.writeAndFlush(NIOAny(HTTPClientRequestPart.end(nil)), promise: nil)
    }

    private func take(_ answer: Answer, from connection: Int) {
        guard connection == connections else { return }
        // Taken first: that the connection ends by this is no answer.
        guard let completion else { return }
        self.completion = nil
        if !answer.head.isKeepAlive { channel?.close(promise: nil) }
        completion(.success(answer))
    }

    private func end(_ error: any Error, from connection: Int) {
        guard connection == connections else { return }
        finish(.failure(error))
    }

    private func finish(_ result: Result<Answer, any Error>) {
        // Taken first: whoever gets the answer may send the next request.
        guard let completion else { return }
        self.completion = nil
        completion(result)
    }
}
