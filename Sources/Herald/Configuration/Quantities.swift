/// Durations and sizes as people write them: `250ms`, `10s`, `64KiB`.
///
/// One whole number and one unit, without a space between them. Units are case-sensitive, because `m` and `M`, `kB`
/// and `KiB` mean different things. What these functions write they also read, and get the same value.
public enum Quantities {
    /// The units of durations, the largest first, in milliseconds.
    private static let durationUnits: [(name: String, milliseconds: Int64)] = [
        ("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1),
    ]

    /// The binary units of sizes, the largest first, in bytes; the only ones that are written.
    private static let binaryUnits: [(name: String, bytes: Int)] = [
        ("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10),
    ]

    /// The decimal units of sizes, and bytes with and without their name.
    private static let decimalUnits: [(name: String, bytes: Int)] = [
        ("TB", 1_000_000_000_000), ("GB", 1_000_000_000), ("MB", 1_000_000), ("kB", 1000), ("B", 1), ("", 1),
    ]

    /// Reads a duration such as `250ms`, `10s`, `5m`, `1h` or `7d`; nil for anything else.
    public static func duration(_ text: String) -> Duration? {
        guard let (number, unit) = split(text),
            let scale = durationUnits.first(where: { $0.name == unit })?.milliseconds
        else { return nil }
        let (milliseconds, overflow) = Int64(number).multipliedReportingOverflow(by: scale)
        return overflow ? nil : .milliseconds(milliseconds)
    }

    /// Writes a duration in the largest unit that divides it, e.g. `90s`, but `2m`; finer than a millisecond is lost.
    public static func text(_ duration: Duration) -> String {
        let (seconds, attoseconds) = duration.components
        let milliseconds = seconds * 1000 + attoseconds / 1_000_000_000_000_000
        guard milliseconds != 0,
            let unit = durationUnits.first(where: { milliseconds.isMultiple(of: $0.milliseconds) })
        else { return "0s" }
        return "\(milliseconds / unit.milliseconds)\(unit.name)"
    }

    /// Reads a size in bytes such as `512`, `64KiB`, `1MiB` or `1GB`; nil for anything else.
    public static func bytes(_ text: String) -> Int? {
        guard let (number, unit) = split(text),
            let scale = (binaryUnits + decimalUnits).first(where: { $0.name == unit })?.bytes
        else { return nil }
        let (bytes, overflow) = number.multipliedReportingOverflow(by: scale)
        return overflow ? nil : bytes
    }

    /// Writes a size in the largest binary unit that divides it, in bytes without a unit when there is none.
    public static func text(bytes: Int) -> String {
        guard bytes != 0, let unit = binaryUnits.first(where: { bytes.isMultiple(of: $0.bytes) }) else {
            return String(bytes)
        }
        return "\(bytes / unit.bytes)\(unit.name)"
    }

    /// Reads a whole number: decimal digits only, no sign; nil for anything else.
    static func count(_ text: String) -> Int? {
        guard let (number, unit) = split(text), unit.isEmpty else { return nil }
        return number
    }

    /// The digits at the beginning as a number, and what follows them.
    private static func split(_ text: String) -> (number: Int, unit: Substring)? {
        let digits = text.prefix { $0.isASCII && $0.isNumber }
        // Int's own parser takes a sign too, which the line above has ruled out; it answers nil on overflow.
        guard let number = Int(digits) else { return nil }
        return (number, text[digits.endIndex...])
    }
}
