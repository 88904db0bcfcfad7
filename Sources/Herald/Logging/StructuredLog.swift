import Logging
import Synchronization

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#else
import Darwin
#endif

// Logs go to standard error, one line an event, as text for people or as JSON for machines. swift-log's own
// StreamLogHandler is not used: it writes messages and values as they are, so that a topic name with a line break in
// it could forge a line of its own, and it knows no JSON.

/// Sets up the process's log.
public enum StructuredLog {
    private static let isSetUp = Mutex(false)

    /// Sends every `Logger` made from now on to standard error, in the format and from the level given.
    ///
    /// Only the first call has an effect: swift-log allows one set-up a process.
    public static func bootstrap(format: LogFormat, level: Logger.Level) {
        isSetUp.withLock { isSetUp in
            guard !isSetUp else { return }
            isSetUp = true
            let sink = FileDescriptorSink.standardError
            LoggingSystem.bootstrap(
                { label, provider in
                    StructuredLogHandler(
                        label: label, format: format, level: level, sink: sink, metadataProvider: provider)
                },
                metadataProvider: nil)
        }
    }
}

/// Where finished log lines go.
public protocol LogSink: Sendable {
    /// Writes one line, which ends in a line feed, as a whole; called from any thread.
    func write(line: [UInt8])
}

/// A log handler that writes one line an event: text, or a JSON object.
///
/// Text: `2026-01-02T03:04:05.678Z info  message key=value`. JSON: `time`, `level`, `logger`, `message` and, when
/// there is any, `metadata`. Metadata is sorted by key. Of two values for one key the log statement's wins over the
/// provider's, and the provider's over the logger's. An error given to the statement is added as `error.message`
/// and `error.type`.
public struct StructuredLogHandler: LogHandler {
    /// The level from which events are written.
    public var logLevel: Logger.Level

    /// What is added to every event of this logger.
    public var metadata: Logger.Metadata = [:]

    /// What adds metadata of the moment, such as a trace id.
    public var metadataProvider: Logger.MetadataProvider?

    private let label: String
    private let format: LogFormat
    private let sink: any LogSink
    private let now: @Sendable () -> Int64

    /// Makes a handler; `now` gives milliseconds since 1970.
    public init(
        label: String,
        format: LogFormat,
        level: Logger.Level = .info,
        sink: any LogSink = FileDescriptorSink.standardError,
        metadataProvider: Logger.MetadataProvider? = nil,
        now: @escaping @Sendable () -> Int64 = { LogTime.now() }
    ) {
        self.label = label
        self.format = format
        self.logLevel = level
        self.sink = sink
        self.metadataProvider = metadataProvider
        self.now = now
    }

    /// Reads or sets one entry of the logger's metadata.
    public subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    /// Writes one event; swift-log has compared the level already.
    public func log(event: LogEvent) {
        let fields = merged(for: event).sorted { $0.key < $1.key }
        var line: [UInt8] = []
        line.reserveCapacity(256)
        switch format {
        case .text: appendText(event, fields, to: &line)
        case .json: appendJSON(event, fields, to: &line)
        }
        line.append(UInt8(ascii: "\n"))
        sink.write(line: line)
    }

    private func merged(for event: LogEvent) -> Logger.Metadata {
        var fields = metadata
        if let provided = metadataProvider?.get() {
            fields.merge(provided) { _, new in new }
        }
        if let explicit = event.metadata {
            fields.merge(explicit) { _, new in new }
        }
        if let error = event.error {
            fields["error.message"] = "\(error)"
            fields["error.type"] = "\(String(reflecting: type(of: error)))"
        }
        return fields
    }

    private func appendText(_ event: LogEvent, _ fields: [Logger.Metadata.Element], to line: inout [UInt8]) {
        LogTime.append(milliseconds: now(), to: &line)
        line.append(UInt8(ascii: " "))
        let level = event.level.rawValue
        line.append(contentsOf: level.utf8)
        // Five columns hold the levels that are common, so that their messages stand under each other.
        line.append(contentsOf: repeatElement(UInt8(ascii: " "), count: max(1, 6 - level.utf8.count)))
        EscapedText.append(event.message.description, to: &line, escapingQuotes: false)
        for (key, value) in fields {
            line.append(UInt8(ascii: " "))
            LogValue.appendWord(key, to: &line)
            line.append(UInt8(ascii: "="))
            LogValue.appendText(value, to: &line)
        }
    }

    private func appendJSON(_ event: LogEvent, _ fields: [Logger.Metadata.Element], to line: inout [UInt8]) {
        line.append(contentsOf: #"{"time":""#.utf8)
        LogTime.append(milliseconds: now(), to: &line)
        line.append(contentsOf: #"","level":""#.utf8)
        line.append(contentsOf: event.level.rawValue.utf8)
        line.append(contentsOf: #"","logger":"#.utf8)
        EscapedText.appendQuoted(label, to: &line)
        line.append(contentsOf: #","message":"#.utf8)
        EscapedText.appendQuoted(event.message.description, to: &line)
        if !fields.isEmpty {
            line.append(contentsOf: #","metadata":"#.utf8)
            LogValue.appendObject(fields, to: &line)
        }
        line.append(UInt8(ascii: "}"))
    }
}

/// Metadata values as text and as JSON.
enum LogValue {
    /// Appends a value for a text line: bare when it is one plain word, quoted otherwise, collections as JSON.
    static func appendText(_ value: Logger.Metadata.Value, to line: inout [UInt8]) {
        switch value {
        case .string(let text): appendWord(text, to: &line)
        case .stringConvertible(let other): appendWord(other.description, to: &line)
        case .array, .dictionary: appendJSON(value, to: &line)
        }
    }

    /// Appends a word bare, or in quotes if anything in it could be taken for the line's own punctuation.
    static func appendWord(_ text: String, to line: inout [UInt8]) {
        let isBare =
            !text.isEmpty
            && text.unicodeScalars.allSatisfy { scalar in
                switch scalar {
                case " ", "=", "\"", "\\", "{", "[": false
                default: EscapedText.isHarmless(scalar) && !scalar.properties.isWhitespace
                }
            }
        if isBare {
            line.append(contentsOf: text.utf8)
        } else {
            EscapedText.appendQuoted(text, to: &line)
        }
    }

    /// Appends a value as JSON; numbers and truth values stay what they are, all else becomes a string.
    static func appendJSON(_ value: Logger.Metadata.Value, to line: inout [UInt8]) {
        switch value {
        case .string(let text):
            EscapedText.appendQuoted(text, to: &line)
        case .stringConvertible(let other):
            if isJSONLiteral(other) {
                line.append(contentsOf: other.description.utf8)
            } else {
                EscapedText.appendQuoted(other.description, to: &line)
            }
        case .dictionary(let fields):
            appendObject(fields.sorted { $0.key < $1.key }, to: &line)
        case .array(let values):
            line.append(UInt8(ascii: "["))
            for (index, value) in values.enumerated() {
                if index > 0 { line.append(UInt8(ascii: ",")) }
                appendJSON(value, to: &line)
            }
            line.append(UInt8(ascii: "]"))
        }
    }

    /// Appends fields as a JSON object, in the order given.
    static func appendObject(_ fields: [Logger.Metadata.Element], to line: inout [UInt8]) {
        line.append(UInt8(ascii: "{"))
        for (index, field) in fields.enumerated() {
            if index > 0 { line.append(UInt8(ascii: ",")) }
            EscapedText.appendQuoted(field.key, to: &line)
            line.append(UInt8(ascii: ":"))
            appendJSON(field.value, to: &line)
        }
        line.append(UInt8(ascii: "}"))
    }

    private static func isJSONLiteral(_ value: any CustomStringConvertible) -> Bool {
        switch value {
        case is Int, is Int64, is Int32, is UInt, is UInt64, is UInt32, is UInt16, is UInt8, is Bool: true
        case let number as Double: number.isFinite
        default: false
        }
    }
}

/// The time of a log line.
public enum LogTime {
    /// Milliseconds since 1970 by the system's clock.
    public static func now() -> Int64 {
        var time = timespec()
        unsafe clock_gettime(CLOCK_REALTIME, &time)
        return Int64(time.tv_sec) * 1000 + Int64(time.tv_nsec) / 1_000_000
    }

    /// Appends a moment as `2026-01-02T03:04:05.678Z` (RFC 3339, UTC).
    static func append(milliseconds: Int64, to line: inout [UInt8]) {
        let seconds = milliseconds.flooredQuotient(by: 1000)
        let days = seconds.flooredQuotient(by: 86_400)
        let date = civilDate(daysSince1970: days)
        let ofDay = seconds - days * 86_400
        appendDigits(date.year, width: 4, to: &line)
        line.append(UInt8(ascii: "-"))
        appendDigits(date.month, width: 2, to: &line)
        line.append(UInt8(ascii: "-"))
        appendDigits(date.day, width: 2, to: &line)
        line.append(UInt8(ascii: "T"))
        appendDigits(ofDay / 3600, width: 2, to: &line)
        line.append(UInt8(ascii: ":"))
        appendDigits(ofDay / 60 % 60, width: 2, to: &line)
        line.append(UInt8(ascii: ":"))
        appendDigits(ofDay % 60, width: 2, to: &line)
        line.append(UInt8(ascii: "."))
        appendDigits(milliseconds - seconds * 1000, width: 3, to: &line)
        line.append(UInt8(ascii: "Z"))
    }

    /// The Gregorian date of a day number.
    ///
    /// Years are counted from March, so that the leap day is the last of its year and months before it have the same
    /// lengths in every year; eras of 400 years (146,097 days) repeat exactly.
    private static func civilDate(daysSince1970: Int64) -> (year: Int64, month: Int64, day: Int64) {
        let days = daysSince1970 + 719_468  // from 1 March of year 0
        let era = days.flooredQuotient(by: 146_097)
        let dayOfEra = days - era * 146_097
        let leapCorrection = dayOfEra / 1_460 - dayOfEra / 36_524 + dayOfEra / 146_096
        let yearOfEra = (dayOfEra - leapCorrection) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let monthFromMarch = (5 * dayOfYear + 2) / 153
        let day = dayOfYear - (153 * monthFromMarch + 2) / 5 + 1
        let month = monthFromMarch < 10 ? monthFromMarch + 3 : monthFromMarch - 9
        let year = era * 400 + yearOfEra + (month <= 2 ? 1 : 0)
        return (year, month, day)
    }

    private static func appendDigits(_ number: Int64, width: Int, to line: inout [UInt8]) {
        var divisor: Int64 = 1
        for _ in 1..<width { divisor *= 10 }
        while divisor > 0 {
            line.append(UInt8(ascii: "0") + UInt8(truncatingIfNeeded: number / divisor % 10))
            divisor /= 10
        }
    }
}

extension Int64 {
    fileprivate func flooredQuotient(by divisor: Int64) -> Int64 {
        let (quotient, remainder) = quotientAndRemainder(dividingBy: divisor)
        return remainder < 0 ? quotient - 1 : quotient
    }
}

/// A sink that writes to a file descriptor, whole lines only.
///
/// A descriptor that takes nothing for a second loses the rest of the line: a log that nobody reads must not stop the
/// server. The next line then begins on a line of its own.
public final class FileDescriptorSink: LogSink {
    /// The process's standard error.
    public static let standardError = FileDescriptorSink(descriptor: 2)

    /// How long a descriptor may take nothing, in milliseconds.
    private static let patience: Int32 = 1000

    private let descriptor: Int32
    /// Whether the last line was cut short. The lock also keeps lines of several threads apart.
    private let isCutShort = Mutex(false)

    /// Makes a sink for a descriptor that stays open; closing it is the caller's business.
    public init(descriptor: Int32) {
        self.descriptor = descriptor
    }

    /// Writes one line.
    public func write(line: [UInt8]) {
        isCutShort.withLock { isCutShort in
            let bytes = isCutShort ? [UInt8(ascii: "\n")] + line : line
            let written = writeAll(bytes)
            // A line of which nothing was written leaves things as they were.
            if written > 0 {
                isCutShort = written < bytes.count
            }
        }
    }

    private func writeAll(_ bytes: [UInt8]) -> Int {
        var done = 0
        while done < bytes.count {
            let count = unsafe bytes[done...].withUnsafeBytes { part in
                unsafe writeToDescriptor(descriptor, part.baseAddress, part.count)
            }
            if count > 0 {
                done += count
            } else if errno == EAGAIN || errno == EWOULDBLOCK {
                guard isWritable() else { return done }
            } else if errno != EINTR {
                return done
            }
        }
        return done
    }

    private func isWritable() -> Bool {
        var poller = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
        return unsafe poll(&poller, 1, Self.patience) > 0
    }
}

/// write(2), under a name that the sink's own methods don't hide.
private func writeToDescriptor(_ descriptor: Int32, _ bytes: UnsafeRawPointer?, _ count: Int) -> Int {
    unsafe write(descriptor, bytes, count)
}
