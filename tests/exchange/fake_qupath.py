"""As much of QuPath as the scripts of an export use, in Groovy: they run for real, and say what they ask QuPath for.

Signatures are those of QuPath v0.6.0 to e7662d8 and of its StarDist extension v0.6.0 to c1db125.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

import numpy as np

GROOVY = shutil.which("groovy")
CLASSES = {
    "fake.Said": """
        /** What was asked of QuPath, and the image that is open. */
        class Said {
            static List calls
            static Map image
            static Object data
            static void start(File job) { calls = []; data = null; image = new groovy.json.JsonSlurper().parse(job) }
            static Object call(String name, Object... values) { calls << [name, values as List]; null }
        }""",
    "qupath.lib.common.ColorTools": """
        class ColorTools {
            static int packRGB(int r, int g, int b) { (255 << 24) + (r << 16) + (g << 8) + b }
        }""",
    "qupath.lib.regions.Padding": """
        class Padding { int by; static Padding symmetric(int padding) { new Padding(by: padding) } }""",
    "qupath.lib.regions.RegionRequest": """
        class RegionRequest {
            double downsample; int x, y, width, height, z, t
            static RegionRequest createInstance(
                    String path, double d, int x, int y, int width, int height, int z, int t) {
                new RegionRequest(downsample: d, x: x, y: y, width: width, height: height, z: z, t: t)
            }
        }""",
    "qupath.lib.images.servers.PixelType": """
        enum PixelType { UINT8, UINT16, INT16, FLOAT32; boolean isFloatingPoint() { this == FLOAT32 } }""",
    "qupath.lib.images.servers.Pixels": """
        class Pixels { int width, height, y; double downsample }""",
    "qupath.lib.images.servers.ColorTransform": """
        interface ColorTransform { float[] extractChannel(Object server, Pixels image, float[] pixels) }""",
    "qupath.lib.images.servers.ColorTransforms": """
        import java.nio.*
        class ColorTransforms {
            static class Extractor implements ColorTransform {
                int channel
                float[] extractChannel(Object server, Pixels image, float[] pixels) {
                    int width = Said.image.width, height = Said.image.height, step = (int) image.downsample
                    byte[] bytes = new File((String) Said.image.file).bytes
                    FloatBuffer all = ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN).asFloatBuffer()
                    float[] found = new float[image.width * image.height]
                    for (int y = 0; y < image.height; y++) for (int x = 0; x < image.width; x++)
                        found[y * image.width + x] = all.get((channel * height + image.y + y * step) * width + x * step)
                    found
                }
            }
            static ColorTransform createChannelExtractor(int channel) { new Extractor(channel: channel) }
            static ColorTransform createChannelExtractor(String channel) { throw new Error('a name') }
        }""",
    "qupath.lib.images.servers.ImageServerMetadata": """
        class ImageServerMetadata { static enum ChannelType { CLASSIFICATION, PROBABILITY } }""",
    "qupath.lib.images.servers.PixelCalibration": """
        class PixelCalibration {
            double size = Said.image.pixel_size
            boolean hasPixelSizeMicrons() { size > 0 }
            double getAveragedPixelSizeMicrons() { size }
            Number getAveragedPixelSize() { size > 0 ? size : 1.0d }
            PixelCalibration createScaledInstance(double x, double y) { Said.call('scaled', x, y); this }
        }""",
    "qupath.lib.objects.classes.PathClass": """
        class PathClass {
            String name; Integer colour
            static PathClass fromString(String name) { new PathClass(name: name) }
            static PathClass fromString(String name, Integer rgb) { new PathClass(name: name, colour: rgb) }
            String toString() { name + (colour == null ? '' : ' ' + Integer.toHexString(colour)) }
        }""",
    "qupath.lib.objects.PathObjects": """
        class PathObjects { static PathObject createAnnotationObject(Object roi) { new PathObject(roi: roi) } }""",
    "qupath.lib.objects.PathObject": """
        class PathObject {
            String name; Object roi; boolean locked; List children = []
            boolean isAnnotation() { true }
            boolean hasROI() { roi != null }
            Object getROI() { roi }
            Collection getChildObjects() { children }
            void setLocked(boolean locked) { this.locked = locked }
        }""",
    "qupath.lib.scripting.Roi": """
        class Roi { int z, t; boolean isArea() { true } }""",
    "qupath.lib.scripting.QP": """
        import qupath.lib.images.servers.*
        import qupath.lib.objects.PathObject
        class QP {
            static Object getCurrentImageData() {
                if (Said.data == null && Said.image.open) Said.data = new Data()
                Said.data
            }
            static PathObject createFullImageAnnotation(Object imageData, boolean setSelected) {
                def one = new PathObject(roi: new Roi()); getCurrentImageData().annotations << one; one
            }
            static class Data {
                List annotations = []
                List selected = Said.image.selected.collect { new PathObject(roi: new Roi(z: it[0], t: it[1])) }
                Object getServer() { this }
                Object getMetadata() { this }
                Object getHierarchy() { this }
                Object getSelectionModel() { this }
                List getChannels() { (0..<nChannels()).collect { n -> [getName: { 'c' + n }] } }
                List getSelectedObjects() { selected }
                List getAnnotationObjects() { annotations }
                List getDetectionObjects() { [] }
                void removeObjects(Collection objects, boolean keepChildren) { Said.call('remove', objects.size()) }
                int nChannels() { Said.image.channels }
                int getWidth() { Said.image.width }
                int getHeight() { Said.image.height }
                String getPath() { 'a path' }
                PixelType getPixelType() { PixelType.valueOf((String) Said.image.type) }
                PixelCalibration getPixelCalibration() { new PixelCalibration() }
                Pixels readRegion(qupath.lib.regions.RegionRequest one) {
                    Said.call('read', one.y, one.height, one.z, one.t)
                    def sides = [one.width, one.height].collect { (int) Math.max(1, Math.round(it / one.downsample)) }
                    new Pixels(width: sides[0], height: sides[1], y: one.y, downsample: one.downsample)
                }
            }
        }""",
    "qupath.opencv.ops.ImageOp": """
        class ImageOp { String name; List values }""",
    "qupath.opencv.ops.ImageOps": """
        import qupath.lib.images.servers.ColorTransform
        import qupath.lib.images.servers.PixelType
        class ImageOps {
            static class Core {
                static ImageOp subtract(double... values) { new ImageOp(name: 'subtract', values: values as List) }
                static ImageOp multiply(double... values) { new ImageOp(name: 'multiply', values: values as List) }
                static ImageOp ensureType(PixelType type) { new ImageOp(name: 'type', values: [type.name()]) }
            }
            static class Channels {
                static ImageOp extract(int... channels) { new ImageOp(name: 'extract', values: channels as List) }
            }
            static class Threshold {
                static ImageOp threshold(double... values) { new ImageOp(name: 'threshold', values: values as List) }
            }
            static class ML {
                static ImageOp dnn(qupath.opencv.dnn.DnnModel model, int inputWidth, int inputHeight,
                        qupath.lib.regions.Padding padding, String... outputNames) {
                    new ImageOp(name: 'dnn', values: [model.file.path, inputWidth, inputHeight, padding.by])
                }
            }
            static DataOp buildImageDataOp(ColorTransform... channels) { new DataOp() }
            static DataOp buildImageDataOp(Collection<? extends ColorTransform> channels) {
                Said.call('channels', channels.collect { it.channel }); new DataOp()
            }
            static class DataOp {
                DataOp appendOps(ImageOp... ops) { Said.call('ops', ops.collect { [it.name, it.values] }); this }
            }
        }""",
    "qupath.opencv.dnn.DnnModel": """
        class DnnModel { File file; void close() { Said.call('closed') } }""",
    "qupath.opencv.dnn.DnnModels": """
        class DnnModels { static DnnModel buildModel(DnnModelParams params) { new DnnModel(file: params.file) } }""",
    "qupath.opencv.dnn.DnnModelParams": """
        class DnnModelParams {
            File file
            static Builder builder() { new Builder() }
            static class Builder {
                File file
                Builder files(File... files) { file = files[0]; this }
                DnnModelParams build() { new DnnModelParams(file: file) }
            }
        }""",
    "qupath.lib.classifiers.pixel.PixelClassifierMetadata": """
        import qupath.lib.images.servers.*
        class PixelClassifierMetadata {
            static class Builder {
                Builder inputResolution(PixelCalibration one) { this }
                Builder inputShape(int width, int height) { Said.call('shape', width, height); this }
                Builder setChannelType(Enum type) { Said.call('gives', type.name()); this }
                Builder outputPixelType(PixelType type) { Said.call('output', type.name()); this }
                Builder classificationLabels(Map labels) {
                    Said.call('labels', labels.collectEntries { [it.key as String, it.value.toString()] }); this
                }
                PixelClassifierMetadata build() { new PixelClassifierMetadata() }
            }
        }""",
    "qupath.opencv.ml.pixel.PixelClassifiers": """
        class PixelClassifiers {
            static Object createClassifier(Object op,
                qupath.lib.classifiers.pixel.PixelClassifierMetadata metadata) { 'classifier' }
        }""",
    "qupath.opencv.ml.pixel.PixelClassifierTools": """
        class PixelClassifierTools {
            static enum CreateObjectOptions { SPLIT }
            static Object createPixelClassificationServer(Object imageData, Object classifier) { 'server' }
            static boolean createObjectsFromPredictions(Object server, Object hierarchy, Collection selectedObjects,
                    java.util.function.Function creator, double minArea, double minHoleArea,
                    CreateObjectOptions... options) {
                def made = creator.apply('roi')
                Said.call('draw', selectedObjects.size(), made.name, made.locked)
            }
        }""",
    "qupath.ext.stardist.StarDist2D": """
        import qupath.lib.images.servers.ColorTransform
        import qupath.lib.objects.classes.PathClass
        import qupath.opencv.ops.ImageOp
        class StarDist2D {
            static Builder builder(String path) { Said.call('model', path); new Builder() }
            void detectObjects(Object imageData, Collection parents) { Said.call('detect', parents.size()) }
            void close() { Said.call('closed') }
            static class Builder {
                Builder channels(int... channels) { Said.call('channels', channels as List); this }
                Builder channels(String... channels) { throw new Error('names') }
                Builder channels(ColorTransform... channels) { throw new Error('transforms') }
                Builder preprocess(ImageOp... ops) { Said.call('ops', ops.collect { [it.name, it.values] }); this }
                Builder threshold(double threshold) { Said.call('threshold', threshold); this }
                Builder tileSize(int tileSize) { Said.call('tile', tileSize); this }
                Builder padding(int pad) { Said.call('padding', pad); this }
                Builder simplify(double distance) { Said.call('simplify', distance); this }
                Builder includeProbability(boolean include) { this }
                Builder measureShape() { this }
                Builder measureIntensity() { this }
                Builder pixelSize(double pixelSize) { Said.call('pixel size', pixelSize); this }
                Builder classifications(Map<Integer, PathClass> classes) {
                    Said.call('labels', classes.collectEntries { [it.key as String, it.value.toString()] }); this
                }
                StarDist2D build() { new StarDist2D() }
            }
        }""",
}


def environment() -> dict[str, str]:
    """What groovy needs of Java: Debian's looks for a default Java that need not be installed."""
    java = shutil.which("java")
    home = {} if "JAVA_HOME" in os.environ or not java else {"JAVA_HOME": str(Path(java).resolve().parents[1])}
    return {**os.environ, **home, "JAVA_OPTS": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"}  # starts quicker


def run(jobs: Iterable[tuple[Path, np.ndarray, dict]], place: Path) -> list[tuple[list, str]]:
    """Run scripts, one after the other, in one Java: for each what it asks of QuPath, in order, and why it stopped.

    A job is a script, the image (Y, X, C) that is open, and more: pixel_size (um, 0 where unknown), selected (slice and
    frame of each annotation that is), open, file (whether the script is known to come from a file).
    """
    _write_classes(place / "classes")
    given = [str(_write_job(*job, place / str(number))) for number, job in enumerate(jobs)]
    (place / "jobs.json").write_text(json.dumps(given))
    runner = place / "run.groovy"
    runner.write_text(RUNNER.replace("PLACE", str(place)))
    done = subprocess.run([GROOVY, str(runner)], capture_output=True, text=True, env=environment(), check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return [tuple(json.loads(Path(one).with_suffix(".said").read_text())) for one in given]


RUNNER = """
    def loader = new GroovyClassLoader()
    loader.addClasspath('PLACE/classes')
    def said = loader.loadClass('fake.Said')
    new groovy.json.JsonSlurper().parse(new File('PLACE/jobs.json')).each { job ->
        said.start(new File(job))
        def binding = said.image.from_file ? new Binding(['qupath.script.file': said.image.script]) : new Binding()
        def out = new StringWriter()
        binding.setVariable('out', new PrintWriter(out))
        try {
            new GroovyShell(loader, binding).evaluate(new File(said.image.script))
        } catch (Throwable error) {
            out << error
        }
        new File(job.replace('.json', '.said')).text = groovy.json.JsonOutput.toJson([said.calls, out.toString()])
    }
"""


def _write_job(script: Path, image: np.ndarray, more: dict, place: Path) -> Path:
    place.mkdir()
    np.moveaxis(image, -1, 0).astype("<f4").tofile(place / "image.raw")
    height, width, channels = image.shape
    kind = {"uint8": "UINT8", "uint16": "UINT16", "int16": "INT16", "float32": "FLOAT32"}[image.dtype.name]
    about = {"file": str(place / "image.raw"), "script": str(script), "type": kind}
    about |= {"width": width, "height": height, "channels": channels}
    about |= {"pixel_size": 0, "selected": [], "open": True, "from_file": True}
    (place / "job.json").write_text(json.dumps(about | more))
    return place / "job.json"


def _write_classes(place: Path) -> None:
    for name, body in CLASSES.items():
        path = place.joinpath(*name.split(".")).with_suffix(".groovy")
        path.parent.mkdir(parents=True, exist_ok=True)
        package = name.rpartition(".")[0]
        path.write_text(f"package {package}\n{body if package == 'fake' else body.replace('Said.', 'fake.Said.')}")
