import Foundation
import Logging
import Synchronization
import Testing

@testable import Herald

/// Keeps what is logged.
private final class KeptLines: LogSink {
    private let kept = Mutex<[String]>([])
    var lines: [String] { kept.withLock { $0 } }

    func write(line: [UInt8]) {
        kept.withLock { $0.append(String(decoding: line, as: UTF8.self)) }
    }
}

struct StructuredLogTests {
    private let sink = KeptLines()

    private func logger(
        _ format: LogFormat, level: Logger.Level = .info, provider: Logger.MetadataProvider? = nil,
        time: Int64 = 1_767_323_045_678
    ) -> Logger {
        Logger(label: "herald.test") { label in
            StructuredLogHandler(
                label: label, format: format, level: level, sink: sink, metadataProvider: provider, now: { time })
        }
    }

    private func object(_ line: String?) throws -> [String: Any] {
        let parsed = try JSONSerialization.jsonObject(with: Data(try #require(line).utf8))
        return try #require(parsed as? [String: Any])
    }

    // MARK: Text

    @Test func `a text line has time, level, message and metadata`() {
        logger(.text).info("message", metadata: ["key": "value"])
        #expect(sink.lines == ["2026-01-02T03:04:05.678Z info  message key=value\n"])
    }

    @Test(arguments: [
        (Logger.Level.trace, "trace m"), (.debug, "debug m"), (.info, "info  m"), (.notice, "notice m"),
        (.warning, "warning m"), (.error, "error m"), (.critical, "critical m"),
    ])
    func `levels are padded to five columns`(level: Logger.Level, expected: String) {
        logger(.text, level: .trace).log(level: level, "m")
        #expect(sink.lines == ["2026-01-02T03:04:05.678Z \(expected)\n"])
    }

    @Test func `metadata is sorted by key`() {
        logger(.text).info("m", metadata: ["b": "2", "c": "3", "a": "1", "B": "0"])
        #expect(sink.lines.first?.hasSuffix(" m B=0 a=1 b=2 c=3\n") == true)
    }

    @Test(arguments: [
        ("plain", "plain"), ("a/b:c@d~-_.", "a/b:c@d~-_."), ("é", "é"), ("", #""""#), ("two words", #""two words""#),
        ("a=b", #""a=b""#), (#"say "hi""#, #""say \"hi\"""#), (#"back\slash"#, #""back\\slash""#),
        ("{}", #""{}""#), ("[1]", #""[1]""#), ("nbsp\u{A0}", "\"nbsp\u{A0}\""),
    ])
    func `a value that is not one plain word is quoted`(value: String, expected: String) {
        logger(.text).info("m", metadata: ["k": "\(value)"])
        #expect(sink.lines.first?.hasSuffix(" m k=\(expected)\n") == true)
    }

    @Test func `collections are written as JSON`() {
        logger(.text).info("m", metadata: ["k": ["b": ["x y", .stringConvertible(3)], "a": .stringConvertible(true)]])
        #expect(sink.lines.first?.hasSuffix(" m k={\"a\":true,\"b\":[\"x y\",3]}\n") == true)
    }

    // MARK: Forgery

    static let hostile = [
        "a\nb", "a\r\nb", "a\rb", "a\u{0B}b", "a\u{0C}b", "a\u{85}b", "a\u{2028}b", "a\u{2029}b", "a\0b",
        "a\u{1B}[31mb", "a\u{7F}b", "a\u{9B}31mb", "a\u{202E}b", "a\u{2066}b", "a\u{200B}b", "a\u{FEFF}b",
        "a\u{E0041}b", "a\tb",
    ]

    @Test(arguments: hostile, LogFormat.allCases)
    func `no input breaks or disguises a line`(text: String, format: LogFormat) {
        var logger = logger(format)
        logger[metadataKey: "own \(text)"] = "\(text)"
        logger.info("\(text)", metadata: [text: "\(text)", "nested": [text: ["\(text)"]]])
        let line = sink.lines.first ?? ""
        #expect(line.hasSuffix("\n"))
        // Each text is an "a", what must not come through, and more.
        let hostile = text.unicodeScalars.dropFirst().first
        #expect(!line.unicodeScalars.dropLast().contains { $0 == hostile }, "\(line.debugDescription)")
    }

    @Test func `a forged line stays inside the line that quotes it`() {
        logger(.text).info("refused", metadata: ["topic": "x\n2026-01-02T03:04:05.678Z error forged"])
        #expect(
            sink.lines == [
                "2026-01-02T03:04:05.678Z info  refused "
                    + #"topic="x\n2026-01-02T03:04:05.678Z error forged""# + "\n"
            ])
    }

    @Test func `a message shows a backslash and a line break differently`() {
        logger(.text).info(#"a\nb"#)
        logger(.text).info("a\nb")
        #expect(sink.lines.first?.hasSuffix(#" a\\nb"# + "\n") == true)
        #expect(sink.lines.last?.hasSuffix(#" a\nb"# + "\n") == true)
    }

    // MARK: JSON

    @Test func `a JSON line is one object in a fixed order`() {
        logger(.json).info("message", metadata: ["b": "2", "a": "1"])
        #expect(
            sink.lines == [
                #"{"time":"2026-01-02T03:04:05.678Z","level":"info","logger":"herald.test","message":"message","#
                    + #""metadata":{"a":"1","b":"2"}}"# + "\n"
            ])
    }

    @Test func `a JSON line without metadata has no such member`() throws {
        logger(.json).warning("m")
        #expect(try object(sink.lines.first).keys.sorted() == ["level", "logger", "message", "time"])
    }

    @Test(arguments: hostile + ["\"", "\\", "é", "😀", "</script>"])
    func `JSON gives back what was logged`(text: String) throws {
        logger(.json).info("\(text)", metadata: ["k\(text)": ["\(text)"]])
        let line = try object(sink.lines.first)
        #expect(line["message"] as? String == text)
        let metadata = try #require(line["metadata"] as? [String: [String]])
        #expect(metadata == ["k\(text)": [text]])
    }

    @Test func `numbers and truth values stay what they are in JSON`() {
        logger(.json).info(
            "m",
            metadata: [
                "a": .stringConvertible(-1), "b": .stringConvertible(UInt64.max), "c": .stringConvertible(false),
                "d": .stringConvertible(0.5), "e": .stringConvertible(Double.infinity),
                "f": .stringConvertible(Duration.seconds(1)),
            ])
        #expect(
            sink.lines.first?.contains(
                #""metadata":{"a":-1,"b":18446744073709551615,"c":false,"d":0.5,"e":"inf","f":"1.0 seconds"}"#) == true)
    }

    // MARK: Metadata and levels

    @Test func `the statement wins over the provider and the provider over the logger`() {
        let provider = Logger.MetadataProvider { ["b": "provider", "c": "provider"] }
        var logger = logger(.text, provider: provider)
        logger[metadataKey: "a"] = "logger"
        logger[metadataKey: "b"] = "logger"
        logger.info("m", metadata: ["c": "statement"])
        #expect(sink.lines.first?.hasSuffix(" m a=logger b=provider c=statement\n") == true)
    }

    @Test func `an error is added with its type`() {
        logger(.text).error("failed", error: ListenError.inUse)
        #expect(sink.lines.first?.contains("error.message=inUse error.type=") == true)
    }

    private enum ListenError: Error {
        case inUse
    }

    @Test func `the level can be set and is the logger's own`() {
        let quiet = logger(.text, level: .error)
        var loud = quiet
        loud.logLevel = .debug
        quiet.info("quiet")
        loud.debug("loud")
        #expect(sink.lines.count == 1)
        #expect(quiet.logLevel == .error)
    }

    // MARK: Time

    @Test(arguments: [
        (Int64(0), "1970-01-01T00:00:00.000Z"), (-1, "1969-12-31T23:59:59.999Z"),
        (951_782_399_999, "2000-02-28T23:59:59.999Z"), (951_782_400_000, "2000-02-29T00:00:00.000Z"),
        (951_868_800_000, "2000-03-01T00:00:00.000Z"), (1_735_689_599_000, "2024-12-31T23:59:59.000Z"),
        (4_107_542_400_000, "2100-03-01T00:00:00.000Z"), (253_402_300_799_999, "9999-12-31T23:59:59.999Z"),
    ])
    func `times are written in UTC`(milliseconds: Int64, expected: String) {
        logger(.text, time: milliseconds).info("m")
        #expect(sink.lines == ["\(expected) info  m\n"])
    }

    @Test func `dates agree with Foundation's`() {
        let style = Date.ISO8601FormatStyle(includingFractionalSeconds: true)
        for day in stride(from: Int64(-20_000), to: 60_000, by: 7) {
            let milliseconds = day * 86_400_000 + (day & 0xFFFF) * 1319
            var line: [UInt8] = []
            LogTime.append(milliseconds: milliseconds, to: &line)
            // A tenth of a millisecond more keeps Foundation's binary fractions from rounding down.
            let date = Date(timeIntervalSince1970: (Double(milliseconds) + 0.1) / 1000)
            #expect(String(decoding: line, as: UTF8.self) == style.format(date))
        }
    }

    // MARK: The sink

    @Test func `lines of many threads stay whole`() throws {
        let pipe = Pipe()
        // Longer than what a pipe takes at once, so that only the lock keeps them apart.
        let length = 20_000
        let writing = pipe.fileHandleForWriting
        Thread.detachNewThread {
            let sink = FileDescriptorSink(descriptor: writing.fileDescriptor)
            let letters = Array("abcdefgh".utf8)
            DispatchQueue.concurrentPerform(iterations: letters.count) { index in
                for _ in 0..<10 { sink.write(line: Array(repeating: letters[index], count: length) + [0x0A]) }
            }
            try? writing.close()
        }
        let lines = try #require(try pipe.fileHandleForReading.readToEnd()).split(separator: 0x0A)
        #expect(lines.count == 80)
        #expect(lines.allSatisfy { $0.count == length && Set($0).count == 1 })
    }

    @Test func `a descriptor that takes nothing loses a line but keeps the next one apart`() throws {
        let pipe = Pipe()
        let descriptor = pipe.fileHandleForWriting.fileDescriptor
        #expect(fcntl(descriptor, F_SETFL, O_NONBLOCK) == 0)
        let sink = FileDescriptorSink(descriptor: descriptor)
        sink.write(line: Array(repeating: 0x61, count: 1 << 20) + [0x0A])
        let cut = pipe.fileHandleForReading.availableData
        #expect(!cut.isEmpty && !cut.contains(0x0A))
        while readable(pipe) { _ = pipe.fileHandleForReading.availableData }
        sink.write(line: Array("next\n".utf8))
        #expect(pipe.fileHandleForReading.availableData == Data("\nnext\n".utf8))
        sink.write(line: Array("third\n".utf8))
        #expect(pipe.fileHandleForReading.availableData == Data("third\n".utf8))
    }

    private func readable(_ pipe: Pipe) -> Bool {
        var poller = pollfd(fd: pipe.fileHandleForReading.fileDescriptor, events: Int16(POLLIN), revents: 0)
        return unsafe poll(&poller, 1, 0) > 0
    }

    @Test func `a closed descriptor is not waited for`() {
        FileDescriptorSink(descriptor: -1).write(line: Array("lost\n".utf8))
    }
}
