import ArgumentParser

/// The command `herald`, which only chooses among its subcommands.
@main
struct HeraldCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "herald",
        abstract: "A pub/sub notification server, and the commands that talk to it.",
        discussion: """
            Publishers POST events; subscribers receive them by WebSocket, Server-Sent Events, long-poll or \
            short-poll, and resume after a cut where they were.

            A first round on one machine:

              herald serve
              herald subscribe 'orders/**'
              herald publish orders/42 '{"state":"shipped"}'

            The client commands find their server by --server, or else by the environment variable HERALD_SERVER. \
            They exit with 0 on success, 1 when the server refused or could not be reached, and 64 when they were \
            called wrongly.
            """,
        version: "0.1.0",
        subcommands: [
            ServeCommand.self, PublishCommand.self, SubscribeCommand.self, TopicsCommand.self, TokenCommand.self,
            BenchCommand.self,
        ])
}
