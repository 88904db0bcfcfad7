import ArgumentParser
import HeraldClient

/// `herald topics`: looks at topics and empties them.
struct TopicsCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "topics",
        abstract: "List, show and purge topics.",
        discussion: """
            A topic exists from its first event on, and is forgotten some time after its last event has expired.

              herald topics list --prefix orders/
              herald topics show orders/42
              herald topics purge orders/42
            """,
        subcommands: [ListCommand.self, ShowCommand.self, PurgeCommand.self])

    /// How topics are printed.
    enum Format: String, ExpressibleByArgument, CaseIterable {
        case table, json
    }

    /// `herald topics list`: all topics, page by page.
    struct ListCommand: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "list",
            abstract: "List topics by name.",
            discussion: """
                The table has one line a topic: its name, the number and bytes of the events kept for replay, the \
                number published so far, the live readers, and the id of the newest event. With --format json each \
                line is the server's JSON of one topic.
                """)

        @OptionGroup var options: ServerOptions

        @Option(name: .long, help: ArgumentHelp("Only topics whose names begin so.", valueName: "text"))
        var prefix = ""

        @Option(name: .long, help: ArgumentHelp("The most topics to list. (default: all)", valueName: "topics"))
        var limit: Int?

        @Option(name: .long, help: "How to print them.")
        var format = Format.table

        func validate() throws {
            if let limit, limit < 1 { throw ValidationError("--limit must be at least 1.") }
        }

        func run() async throws {
            try await options.withClient { client in
                if format == .table { try Terminal.print(Row.heading.line) }
                var rest = limit ?? .max
                var after: String?
                repeat {
                    let page = try await client.topics(prefix: prefix, after: after, limit: Swift.min(rest, 500))
                    for topic in page.topics {
                        switch format {
                        case .json: try Terminal.print(topic.json)
                        case .table: try Terminal.print(Row(topic).line)
                        }
                    }
                    rest -= page.topics.count
                    after = page.topics.isEmpty ? nil : page.next
                } while after != nil && rest > 0
            }
        }
    }

    /// `herald topics show`: one topic.
    struct ShowCommand: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "show",
            abstract: "Show the state of one topic.",
            discussion: """
                Events up to the floor may be missing: a reader that resumes from before it gets a gap. The head is \
                the newest event's id.
                """)

        @OptionGroup var options: ServerOptions

        @Option(name: .long, help: "How to print it.")
        var format = Format.table

        @Argument(help: "The topic.")
        var topic: String

        func run() async throws {
            try await options.withClient { client in
                let state = try await client.topic(topic)
                guard format == .table else { return try Terminal.print(state.json) }
                let readers = state.subscribers
                let fields = [
                    ("topic", state.topic), ("retained", "\(state.retained)"), ("bytes", "\(state.retainedBytes)"),
                    ("published", "\(state.published)"), ("floor", state.floor?.description ?? "-"),
                    ("head", state.head?.description ?? "-"), ("websocket", "\(readers.webSocket)"),
                    ("sse", "\(readers.serverSentEvents)"), ("ndjson", "\(readers.ndjson)"),
                    ("longpoll", "\(readers.longPoll)"),
                ]
                for (name, value) in fields { try Terminal.print(Row.padded(name, 12) + value) }
            }
        }
    }

    /// `herald topics purge`: empties a topic.
    struct PurgeCommand: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "purge",
            abstract: "Remove all events that a topic keeps.",
            discussion: "Readers that had not come so far get a gap. The events cannot be brought back.")

        @OptionGroup var options: ServerOptions

        @Argument(help: "The topics.")
        var topics: [String]

        func run() async throws {
            try await options.withClient { client in
                for topic in topics {
                    try await client.purge(topic)
                    Terminal.report("Purged \(topic).")
                }
            }
        }
    }
}

/// A line of the table of topics.
private struct Row {
    static let heading = Row(
        name: "TOPIC", retained: "RETAINED", bytes: "BYTES", published: "PUBLISHED", readers: "READERS", head: "HEAD")

    private let name, retained, bytes, published, readers, head: String

    private init(
        name: String, retained: String, bytes: String, published: String, readers: String, head: String
    ) {
        (self.name, self.retained, self.bytes) = (name, retained, bytes)
        (self.published, self.readers, self.head) = (published, readers, head)
    }

    init(_ state: TopicState) {
        self.init(
            name: state.topic, retained: "\(state.retained)", bytes: "\(state.retainedBytes)",
            published: "\(state.published)", readers: "\(state.subscribers.total)",
            head: state.head?.description ?? "-")
    }

    /// Columns as wide as common values; a longer one pushes the rest of its line to the right.
    var line: String {
        Self.padded(name, 40) + " " + Self.padded(retained, 9) + Self.padded(bytes, 12) + Self.padded(published, 12)
            + Self.padded(readers, 9) + head
    }

    static func padded(_ text: String, _ width: Int) -> String {
        text + String(repeating: " ", count: Swift.max(width - text.count, 1))
    }
}
