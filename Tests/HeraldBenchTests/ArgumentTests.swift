import ArgumentParser
import HeraldBench
import Testing

@testable import herald

@Suite struct ArgumentTests {
    private func command(_ arguments: String...) throws -> BenchCommand.TransportsCommand {
        try BenchCommand.TransportsCommand.parse(arguments)
    }

    @Test func `without flags the plan is the default one`() throws {
        #expect(try command().plan == BenchPlan())
    }

    @Test func `flags make the plan`() throws {
        let plan = try command(
            "--transports", "ws,poll", "--readers", "7", "--rate", "0.5,20", "--size", "4KiB", "--duration", "1m",
            "--warm-up", "0s", "--interval", "250ms", "--wait", "5s"
        ).plan
        #expect(plan.transports == [.ws, .poll] && plan.readers == 7 && plan.rates == [0.5, 20] && plan.size == 4096)
        #expect(plan.duration == .seconds(60) && plan.warmUp == .zero)
        #expect(plan.interval == .milliseconds(250) && plan.wait == .seconds(5))
    }

    @Test(arguments: [
        (["--transports", "ws,http"], "\"http\" is no transport; there are poll, longpoll, sse, ndjson, ws."),
        (["--transports", ""], "\"\" is no transport"),
        (["--transports", "ws,ws"], "--transports has ws twice."),
        (["--rate", "fast"], "\"fast\" is not a number of events a second"),
        (["--rate", "1e3"], "\"1e3\" is not a number of events a second"),
        (["--rate", "1,,2"], "\"\" is not a number of events a second"),
        (["--rate=-1"], "\"-1\" is not a number of events a second"),
        (["--rate", "0.01"], "--rate is 0.01; it may be 0.1 to 10000 events a second."),
        (["--readers", "0"], "--readers is 0; it may be 1 to 20000."),
        (["--size", "big"], "\"big\" is not a size such as 128"),
        (["--size", "15"], "--size is 15; it may be 16 to 262144 bytes."),
        (["--duration", "10"], "\"10\" is not a time such as 250ms"),
        (["--duration", "500ms"], "--duration is 500ms; it may be 1s to 3600s."),
        (["--wait", "1500ms"], "--wait is 1500ms; it has to be whole seconds."),
        (["--token-file", "x"], "--ca and --token-file are for a server that runs: give its --server."),
        (["--json", "/"], "--json /: it is a folder."),
        (["--svg", "/no/folder/x.svg"], "--svg /no/folder/x.svg: nothing can be written to /no/folder."),
        (["--json", "x", "--svg", "x"], "--json and --svg name the same file."),
        (["--svg", "x", "--json", "y", "--markdown", "x"], "--svg and --markdown name the same file."),
    ])
    func `a mistake is named`(arguments: [String], words: String) {
        do {
            _ = try BenchCommand.TransportsCommand.parse(arguments)
            Issue.record("\(arguments) is taken")
        } catch {
            let message = BenchCommand.TransportsCommand.message(for: error)
            #expect(message.contains(words), "\(message)")
        }
    }
}
