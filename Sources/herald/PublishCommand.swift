import ArgumentParser
import HeraldClient

/// `herald publish`: sends events and prints what the server made of them.
struct PublishCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "publish",
        abstract: "Publish events.",
        discussion: """
            Each DATA is one event; with none, standard input to its end is one. For every event the server's answer \
            is printed as one line of JSON: its id, topic, time, and how many live readers it met.

              herald publish orders/42 '{"state":"shipped"}'
              herald publish orders/42 --type order.shipped '{"state":"shipped"}'
              herald publish orders/42 --idempotency-key 7f3c '{"state":"paid"}'
              herald publish images/logo --file logo.png --content-type image/png
              uptime | herald publish hosts/web/uptime

            With --ndjson each line of standard input is an event that names its own topic. Lines are sent in \
            batches as they come, in their order; each batch is published whole or, on a mistake in it, not at all, \
            and the command then stops.

              echo '{"topic":"a/1","data":{"n":1}}' | herald publish --ndjson
              herald publish --ndjson < events.ndjson

            Without --content-type, data that is valid JSON goes as application/json, other UTF-8 as text/plain, \
            and anything else as application/octet-stream.
            """)

    /// No server takes a body of this size by its defaults; it keeps a mistaken path from filling the memory.
    private static let dataBytesMax = 64 << 20

    /// Half of what a server takes in one request by its defaults, so that a batch fits with room to spare.
    private static let batchBytesMax = 512 << 10

    @OptionGroup var options: ServerOptions

    @Option(name: .long, help: ArgumentHelp("Publish what this file holds; - is standard input.", valueName: "path"))
    var file: String?

    @Flag(name: .long, help: "Publish the lines of standard input, each a JSON object with topic and data.")
    var ndjson = false

    @Option(name: .long, help: ArgumentHelp("The most lines to send in one batch.", valueName: "lines"))
    var batch = 500

    @Option(name: .long, help: ArgumentHelp("What kind of event it is.", valueName: "type"))
    var type: String?

    @Option(name: .long, help: ArgumentHelp("The media type of the data.", valueName: "type"))
    var contentType: String?

    @Option(
        name: .long,
        help: ArgumentHelp("Publish once, however often this is called with the same key.", valueName: "key"))
    var idempotencyKey: String?

    @Argument(help: "The topic, e.g. orders/42/status. (none with --ndjson)")
    var topic: String?

    @Argument(help: "The data of an event.")
    var data: [String] = []

    func validate() throws {
        if ndjson {
            guard topic == nil, file == nil else {
                throw ValidationError("With --ndjson each line names its topic: give no TOPIC, DATA or --file.")
            }
            guard type == nil, contentType == nil, idempotencyKey == nil else {
                throw ValidationError(
                    "With --ndjson each line has its own type and datacontenttype: give no --type, --content-type "
                        + "or --idempotency-key.")
            }
            guard (1...1_000_000).contains(batch) else { throw ValidationError("--batch must be at least 1.") }
            return
        }
        guard topic != nil else { throw ValidationError("Missing the TOPIC to publish to.") }
        guard file == nil || data.isEmpty else { throw ValidationError("Give either DATA or --file, not both.") }
        guard idempotencyKey == nil || data.count < 2 else {
            throw ValidationError("One --idempotency-key cannot stand for several events: give one DATA.")
        }
    }

    func run() async throws {
        if ndjson || (file == nil && data.isEmpty) || file == "-", Terminal.isInputTyped {
            Terminal.report("Reading standard input; end it with Ctrl-D.")
        }
        try await options.withClient { client in
            if ndjson {
                try await publishLines(client)
            } else if let topic {
                try await publishData(client, topic)
            }
        }
    }

    private func publishData(_ client: HeraldClient, _ topic: String) async throws {
        var items = data.map { Array($0.utf8) }
        if items.isEmpty { items = [try await Terminal.contents(of: file ?? "-", bytesMax: Self.dataBytesMax)] }
        for item in items {
            let receipt = try await client.publish(
                item, to: topic, type: type, contentType: contentType ?? MediaType.fitting(item),
                idempotencyKey: idempotencyKey)
            try Terminal.print(receipt.json)
        }
    }

    /// Publishes line by line as input comes: what has come in one read is sent without waiting for more.
    private func publishLines(_ client: HeraldClient) async throws {
        var batcher = LineBatcher(
            linesMax: batch, bytesMax: Self.batchBytesMax, lineBytesMax: Self.dataBytesMax)
        while true {
            let piece = try await Terminal.readInput()
            for batch in try batcher.feed(piece) { try await publish(batch, client) }
            while let batch = batcher.flush(atEnd: piece.isEmpty) { try await publish(batch, client) }
            if piece.isEmpty { return }
        }
    }

    /// Names the lines that were refused. The server counts those of its request; the reader counts those of the input.
    static func explain(_ problem: Problem, _ batch: LineBatch) -> String {
        let first = batch.lines.first ?? 0
        let range = batch.lines.count == 1 ? "line \(first)" : "lines \(first) to \(batch.lines.last ?? first)"
        guard let line = problem.line, batch.lines.indices.contains(line - 1) else {
            return "Input \(range) not published. \(problem)"
        }
        var bare = problem
        bare.line = nil
        return "Input \(range) not published, for line \(batch.lines[line - 1]). \(bare)"
    }

    private func publish(_ batch: LineBatch, _ client: HeraldClient) async throws {
        do {
            for receipt in try await client.publish(lines: batch.bytes) { try Terminal.print(receipt.json) }
        } catch HeraldError.problem(let problem) {
            throw InputError(description: Self.explain(problem, batch))
        }
    }
}
